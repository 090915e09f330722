#!/usr/bin/env python3
"""Many REQ clients in one process, each with its own identity, socket and turn, as if each were a client of its own.

    crowd.py URL CLASS --clients 100 --requests 1

Every request carries a text nobody else's does; the workers shall answer with it. Prints `asked N` when the N-th request has
left, `answered N` when the N-th reply came. Exit code: 0 each client got each of its own replies once; 1 anything else.
"""

import argparse
import sys
import time

import zmq


def main():
    words = argparse.ArgumentParser()
    words.add_argument("url")
    words.add_argument("job_class")
    words.add_argument("--clients", type=int, default=100)
    words.add_argument("--requests", type=int, default=1)
    words.add_argument("--name", default="crowd")
    words.add_argument("--timeout", type=float, default=90)
    options = words.parse_args()
    context = zmq.Context()
    poller = zmq.Poller()
    waits = {}
    for number in range(options.clients):
        req = context.socket(zmq.REQ)
        req.setsockopt(zmq.LINGER, 0)
        req.setsockopt_string(zmq.IDENTITY, f"C_{options.name}_{number}")
        req.connect(options.url)
        poller.register(req, zmq.POLLIN)
        waits[req] = [number, 0]
    job_class = options.job_class.encode()
    asked = answered = 0
    for req, place in waits.items():
        req.send_multipart([text(options, place), job_class])
        asked += 1
    print(f"asked {asked}", flush=True)
    deadline = time.monotonic() + options.timeout
    while waits:
        ready = poller.poll(max(0, deadline - time.monotonic()) * 1000)
        if not ready:
            left = sorted(number for number, _ in waits.values())
            print(f"no reply to {len(left)} clients: {left}", file=sys.stderr)
            return 1
        for req, _ in ready:
            place = waits[req]
            reply = req.recv_multipart()
            if reply != [text(options, place)]:
                print(f"client {place[0]} asked {text(options, place)!r} and was told {reply!r}", file=sys.stderr)
                return 1
            answered += 1
            print(f"answered {answered}", flush=True)
            place[1] += 1
            if place[1] == options.requests:
                del waits[req]
                # Stays open, so that a second reply to the last request could still be noticed by the socket's filter.
                poller.unregister(req)
                continue
            req.send_multipart([text(options, place), job_class])
            asked += 1
            print(f"asked {asked}", flush=True)
    return 0


def text(options, place):
    return f"{options.name}-{place[0]}-{place[1]}".encode()


if __name__ == "__main__":
    sys.exit(main())
