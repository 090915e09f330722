#!/usr/bin/env python3
"""Listens to what is published: a cluster's news, or anybody's.

    subscriber.py tcp://127.0.0.1:9997                       everything a node publishes
    subscriber.py tcp://127.0.0.1:9997 --topic job/          every change of a job
    subscriber.py tcp://127.0.0.1:9997 --topic info/state/ --count 5

Prints a line a message, its frames with a blank between. Exit code: 0 when --count have come; 1 the next did not in time.
"""

import argparse
import sys

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Prints what a publisher sends.")
    words.add_argument("url", help="the publisher's address, tcp://HOST:9997")
    words.add_argument("--topic", action="append", help="only what begins like this; may be given again (everything)")
    words.add_argument("--count", type=int, default=0, help="end after so many messages; 0: never (0)")
    words.add_argument("--timeout", type=float, help="seconds to wait for the next message (for ever)")
    return words.parse_args()


def main():
    options = arguments()
    sub = zmq.Context().socket(zmq.SUB)
    for topic in options.topic or [""]:
        sub.setsockopt_string(zmq.SUBSCRIBE, topic)
    sub.connect(options.url)
    come = 0
    while options.count == 0 or come < options.count:
        if not sub.poll(None if options.timeout is None else options.timeout * 1000):
            print(f"nothing for {options.timeout:g} s", file=sys.stderr)
            return 1
        print(b" ".join(sub.recv_multipart()).decode(errors="replace"), flush=True)
        come += 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
