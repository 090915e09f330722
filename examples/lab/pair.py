#!/usr/bin/env python3
"""One end of an exclusive pair: sends its messages, prints as many answers, in order.

    pair.py tcp://127.0.0.1:5560 one two three

Only one peer at a time gets through to the other side of a PAIR; another waits in vain. Exit code: 0 as many answers as messages; 1 one did not
come in time; 2 wrong usage.
"""

import argparse
import sys

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Talks with its one peer: a message, an answer.")
    words.add_argument("url", help="the other end, tcp://HOST:5560")
    words.add_argument("messages", metavar="MESSAGE", nargs="+", help="what to send")
    words.add_argument("--bind", action="store_true", help="be the end that listens: the more stable one should")
    words.add_argument("--stay", action="store_true", help="then print whatever else comes, until it is stopped")
    words.add_argument("--timeout", type=float, default=120, help="seconds to wait for an answer (120)")
    return words.parse_args()


def main():
    options = arguments()
    context = zmq.Context()
    pair = context.socket(zmq.PAIR)
    pair.setsockopt(zmq.LINGER, 0)
    # The listening end has nobody to queue for until the other has come. Not ZMQ_IMMEDIATE, which would make the connecting end
    # wait, too: with it a connection that ends takes along what has arrived and was not read yet.
    pair.setsockopt(zmq.SNDTIMEO, int(options.timeout * 1000))
    if options.bind:
        pair.bind(options.url)
    else:
        pair.connect(options.url)
    for message in options.messages:
        try:
            pair.send_string(message)
        except zmq.Again:
            print(f"nobody took {message!r} within {options.timeout:g} s", file=sys.stderr)
            return 1
    for message in options.messages:
        if not pair.poll(options.timeout * 1000):
            print(f"no answer to {message!r} within {options.timeout:g} s", file=sys.stderr)
            return 1
        show(pair)
    while options.stay:
        show(pair)
    # All answers are here, but our own last message may still wait to be sent: the peer counts on it.
    pair.close(linger=int(options.timeout * 1000))
    context.term()
    return 0


def show(pair):
    print(b" ".join(pair.recv_multipart()).decode(errors="replace"), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
