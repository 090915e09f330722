#!/usr/bin/env python3
"""An asynchronous client: sends all its requests at once and takes the replies as they come.

    dealer.py tcp://127.0.0.1:9998 B --requests 10

A REQ socket puts an empty frame before a request and takes it off the reply. A DEALER does neither, so it does it by hand and
may put frames of its own before the empty one. They come back with the reply: that is how it knows which request was
answered. Exit code: 0 every request was answered once; 1 an answer did not come in time or was nobody's; 2 wrong usage.
"""

import argparse
import socket
import sys
import time

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Sends many requests at once; prints each reply with its request's tag.")
    words.add_argument("url", help="the broker's address for clients, tcp://HOST:9998")
    words.add_argument("job_class", metavar="CLASS", nargs="?", help="which kind of worker shall do it")
    words.add_argument("--requests", type=int, default=10, help="how many at once (10)")
    words.add_argument("--identity", default="D_" + socket.gethostname(), help="its name (D_ and the host name)")
    words.add_argument("--message", default="request {}", help="text of a request, {} is its number (request {})")
    words.add_argument("--timeout", type=float, default=120, help="seconds to wait for all replies (120)")
    return words.parse_args()


def main():
    options = arguments()
    dealer = zmq.Context().socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt_string(zmq.IDENTITY, options.identity)
    dealer.connect(options.url)

    open_tags = {}
    for number in range(1, options.requests + 1):
        tag = f"tag-{number}"
        text = options.message.replace("{}", str(number))
        frames = [tag, "", text] + ([] if options.job_class is None else [options.job_class])
        dealer.send_multipart([frame.encode() for frame in frames])
        open_tags[tag] = text

    deadline = time.monotonic() + options.timeout
    while open_tags:
        if not dealer.poll(max(0, deadline - time.monotonic()) * 1000):
            print(f"no reply to {', '.join(open_tags)} within {options.timeout:g} s", file=sys.stderr)
            return 1
        tag, _, reply = (frame.decode(errors="replace") for frame in dealer.recv_multipart())
        text = open_tags.pop(tag, None)
        if text is None:
            print(f"a reply nobody waits for: {tag}: {reply}", file=sys.stderr)
            return 1
        print(f"{tag}: {text}: {reply}", flush=True)
    # Nothing may come after the last one: a request has one reply.
    if dealer.poll(200):
        print(f"a reply too many: {dealer.recv_multipart()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
