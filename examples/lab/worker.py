#!/usr/bin/env python3
"""A worker: says once what it can do, then does one job after another.

    worker.py tcp://127.0.0.1:9999            no class
    worker.py tcp://127.0.0.1:9999 B          class B

It goes on until it is stopped. Exit code: 0 when --jobs of them are done; 2 wrong usage.
"""

import argparse
import socket
import sys
import time

import zmq


def arguments():
    words = argparse.ArgumentParser(description="Does the jobs a broker sends.")
    words.add_argument("url", help="the broker's address for workers, tcp://HOST:9999")
    words.add_argument("job_class", metavar="CLASS", nargs="?", help="which kind of jobs it does")
    words.add_argument("--identity", default="W_" + socket.gethostname(),
                       help="the name the broker knows this worker by; no two may share one (W_ and the host name)")
    words.add_argument("--work-ms", type=int, default=1000, help="how long a job takes, in milliseconds (1000)")
    words.add_argument("--reply", help="text of the reply, {} is the request's text (Done!, without a class resp)")
    words.add_argument("--jobs", type=int, default=0, help="end after so many; 0: never (0)")
    words.add_argument("--journal", help="file that gets a line at a job's begin and end")
    return words.parse_args()


class Journal:
    """One line an event: seconds of this machine's steady clock, what, who, which request."""

    def __init__(self, path, identity):
        self.file = open(path, "a", buffering=1) if path else None
        self.identity = identity

    def note(self, what, text=""):
        if self.file:
            self.file.write(f"{time.monotonic():.6f} {what} {self.identity} {text}\n")


def main():
    options = arguments()
    reply = options.reply or ("resp" if options.job_class is None else "Done!")
    journal = Journal(options.journal, options.identity)
    req = zmq.Context().socket(zmq.REQ)
    req.setsockopt(zmq.LINGER, 1000)
    req.setsockopt_string(zmq.IDENTITY, options.identity)
    req.connect(options.url)

    # The one registration of its life: an empty client, and what this worker can do.
    req.send_multipart([b"", b"", b""] if options.job_class is None else [b"", options.job_class.encode()])
    journal.note("registered")
    done = 0
    while options.jobs == 0 or done < options.jobs:
        # Whoever asked, an empty frame, what was asked. The first goes back as it came: it is the way to the client.
        client, _, message = req.recv_multipart()
        text = message.decode(errors="replace")
        journal.note("began", text)
        time.sleep(options.work_ms / 1000)
        answer = [client, b"", reply.replace("{}", text).encode()]
        if options.job_class is not None:
            answer.append(options.job_class.encode())
        # The reply is the next registration at the same time: it says that this worker is free again.
        req.send_multipart(answer)
        journal.note("ended", text)
        done += 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
