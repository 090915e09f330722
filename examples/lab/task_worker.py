#!/usr/bin/env python3
"""Pulls tasks from a ventilator, spends their milliseconds, and tells the sink: the push/pull pattern without a cluster.

    task_worker.py tcp://127.0.0.1:5557 tcp://127.0.0.1:5558

`understudy bridge zmq` puts a cluster in this program's place.
"""

import argparse
import sys
import time

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Does a ventilator's tasks; a dot each.")
    words.add_argument("ventilator", help="where tasks come from, tcp://HOST:5557")
    words.add_argument("sink", help="where results go, tcp://HOST:5558")
    return words.parse_args()


def main():
    options = arguments()
    context = zmq.Context()
    receiver = context.socket(zmq.PULL)
    receiver.connect(options.ventilator)
    sender = context.socket(zmq.PUSH)
    sender.connect(options.sink)
    while True:
        cost = int(receiver.recv())
        time.sleep(cost / 1000)
        print(".", end="", flush=True)
        sender.send(b"")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
