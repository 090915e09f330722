#!/usr/bin/env python3
"""A logger: whatever anybody pushes to it becomes a line at the end of a file.

    logger.py 9995 /tmp/cbwlog/logs

The file is never emptied, so it keeps what earlier runs wrote. `understudy logdb --file` is the same for a whole cluster.
"""

import argparse
import sys

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Appends every message it is sent to a file, a line each.")
    words.add_argument("port", help="port to listen on; 0: a free one, which it prints")
    words.add_argument("file", help="file to append to")
    words.add_argument("--host", default="*", help="address to listen on (*: all)")
    return words.parse_args()


def main():
    options = arguments()
    pull = zmq.Context().socket(zmq.PULL)
    # The logger is the stable side, so it listens; whoever has something to say connects.
    port = options.port if options.port != "0" else "*"
    pull.bind(f"tcp://{options.host}:{port}")
    print("listening on " + pull.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"), flush=True)
    with open(options.file, "ab", buffering=0) as file:
        while True:
            # One write for line and line end: two loggers on one file never mix within a line.
            file.write(b" ".join(pull.recv_multipart()) + b"\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
