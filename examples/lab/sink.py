#!/usr/bin/env python3
"""Collects the confirmations of a batch and says how long it took from the ventilator's signal on.

    sink.py tcp://*:5558

Prints `:` for each tenth confirmation, `.` for the others. Exit code: 0 all came; 1 one did not come in time.
"""

import argparse
import sys
import time

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Counts the results of a batch of tasks.")
    words.add_argument("bind", help="where results come in, tcp://*:5558")
    words.add_argument("--tasks", type=int, default=100, help="how many the batch has (100)")
    words.add_argument("--timeout", type=float, default=120, help="seconds to wait for the next one (120)")
    return words.parse_args()


def main():
    options = arguments()
    receiver = zmq.Context().socket(zmq.PULL)
    receiver.bind(options.bind)
    print("listening on " + receiver.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"), flush=True)

    receiver.recv()
    began = time.monotonic()
    for number in range(options.tasks):
        if not receiver.poll(options.timeout * 1000):
            print(f"\nonly {number} of {options.tasks} confirmations came", file=sys.stderr)
            return 1
        receiver.recv()
        print(":" if number % 10 == 0 else ".", end="", flush=True)
    print(f"\nTotal elapsed time: {(time.monotonic() - began) * 1000:.0f} msec", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
