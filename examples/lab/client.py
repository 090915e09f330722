#!/usr/bin/env python3
"""A client: asks for work again and again, one request at a time.

    client.py tcp://127.0.0.1:9998            no class: each request is one frame
    client.py tcp://127.0.0.1:9998 B          class B: each request is two frames, text and class

Exit code: 0 every request was answered; 1 an answer did not come in time; 2 wrong usage; 3 an answer was an ERROR.
"""

import argparse
import socket
import sys
import time

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Sends requests to a broker and prints the replies.")
    words.add_argument("url", help="the broker's address for clients, tcp://HOST:9998")
    words.add_argument("job_class", metavar="CLASS", nargs="?", help="which kind of worker shall do it")
    words.add_argument("--requests", type=int, default=10, help="how many, one after another (10)")
    words.add_argument("--identity", default="C_" + socket.gethostname(),
                       help="the name the broker knows this client by; no two may share one (C_ and the host name)")
    words.add_argument("--message", help="text of a request, {} is its number (Hello, without a class Hola)")
    words.add_argument("--timeout", type=float, default=120, help="seconds to wait for one reply (120)")
    words.add_argument("--tries", type=int, default=1, help="how often to ask when no reply comes (1)")
    words.add_argument("--journal", help="file that gets a line when a request leaves and when its reply comes")
    return words.parse_args()


class Journal:
    """One line an event: seconds of this machine's steady clock, what, who, which request."""

    def __init__(self, path, identity):
        self.file = open(path, "a", buffering=1) if path else None
        self.identity = identity

    def note(self, what, text):
        if self.file:
            self.file.write(f"{time.monotonic():.6f} {what} {self.identity} {text}\n")


def connect(context, options):
    req = context.socket(zmq.REQ)
    req.setsockopt(zmq.LINGER, 0)
    # Before connect: the name travels with the connection's first bytes.
    req.setsockopt_string(zmq.IDENTITY, options.identity)
    req.connect(options.url)
    return req


def main():
    options = arguments()
    context = zmq.Context()
    journal = Journal(options.journal, options.identity)
    message = options.message or ("Hola" if options.job_class is None else "Hello")
    errors = 0
    req = connect(context, options)
    for number in range(1, options.requests + 1):
        text = message.replace("{}", str(number))
        request = [text] if options.job_class is None else [text, options.job_class]
        for _ in range(options.tries):
            journal.note("asked", text)
            req.send_multipart([frame.encode() for frame in request])
            if req.poll(options.timeout * 1000):
                break
            # A REQ socket that still waits cannot ask again: a new one can.
            req.close()
            req = connect(context, options)
        else:
            print(f"no reply to request {number} within {options.timeout:g} s", file=sys.stderr)
            return 1
        reply = b" ".join(req.recv_multipart()).decode(errors="replace")
        journal.note("answered", text)
        errors += reply.startswith("ERROR ")
        print("resp: " + reply, flush=True)
    return 3 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
