#!/usr/bin/env python3
"""Worker of one broker and client of another: hands the jobs of one class on.

    worcli.py tcp://FIRST:9999 tcp://SECOND:9998 DELAY CLASS

It holds one job at a time; DELAY milliseconds are added to each, half on the way there and half on the way back, as a slow
network would. `understudy bridge lab` does the same for many jobs and classes at once.
"""

import argparse
import socket
import sys
import time

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Hands the jobs of one class from one broker to another.")
    words.add_argument("bk1", help="the first broker's address for workers, tcp://HOST:9999")
    words.add_argument("bk2", help="the second broker's address for clients, tcp://HOST:9998")
    words.add_argument("delay", metavar="DELAY", type=int, help="milliseconds added to each job, there and back together")
    words.add_argument("job_class", metavar="CLASS", help="which jobs")
    words.add_argument("--identity", default="WC_" + socket.gethostname(),
                       help="the name both brokers know it by (WC_ and the host name)")
    return words.parse_args()


def connect(context, url, identity):
    req = context.socket(zmq.REQ)
    req.setsockopt(zmq.LINGER, 1000)
    req.setsockopt_string(zmq.IDENTITY, identity)
    req.connect(url)
    return req


def main():
    options = arguments()
    context = zmq.Context()
    source = connect(context, options.bk1, options.identity)
    target = connect(context, options.bk2, options.identity)
    job_class = options.job_class.encode()
    half = options.delay / 2 / 1000

    source.send_multipart([b"", job_class])
    while True:
        client, _, message = source.recv_multipart()
        time.sleep(half)
        target.send_multipart([message, job_class])
        reply = target.recv_multipart()[0]
        time.sleep(half)
        source.send_multipart([client, b"", reply, job_class])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
