#!/usr/bin/env python3
"""Pushes tasks: each is the number of milliseconds it takes. With task_worker.py and sink.py: the push/pull pattern.

    ventilator.py tcp://*:5557 tcp://127.0.0.1:5558

Workers pull from the first address, which it binds; the sink binds the second and hears from here that the batch begins.
"""

import argparse
import random
import sys
import time

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Pushes a batch of tasks to whoever pulls.")
    words.add_argument("bind", help="where workers pull tasks, tcp://*:5557")
    words.add_argument("sink", help="the sink's address, tcp://HOST:5558")
    words.add_argument("--tasks", type=int, default=100, help="how many (100)")
    words.add_argument("--most-ms", type=int, default=100, help="a task takes 1 to so many milliseconds (100)")
    words.add_argument("--seed", type=int, help="the same batch each time")
    words.add_argument("--wait", type=float,
                       help="seconds for workers to come, instead of the Enter key; the first to come gets the most")
    return words.parse_args()


def main():
    options = arguments()
    context = zmq.Context()
    sender = context.socket(zmq.PUSH)
    sender.bind(options.bind)
    print("listening on " + sender.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"), flush=True)
    sink = context.socket(zmq.PUSH)
    sink.connect(options.sink)

    if options.wait is None:
        input("Press Enter when the workers are ready: ")
    else:
        time.sleep(options.wait)
    print("Sending tasks to workers...", flush=True)
    sink.send(b"0")
    chance = random.Random(options.seed)
    costs = [chance.randint(1, options.most_ms) for _ in range(options.tasks)]
    for cost in costs:
        sender.send_string(str(cost))
    print(f"Total expected cost: {sum(costs)} msec", flush=True)
    # Both sockets are closed with the program, but only after what waits in them has been sent.
    sender.close(linger=-1)
    sink.close(linger=-1)
    context.term()
    return 0


if __name__ == "__main__":
    sys.exit(main())
