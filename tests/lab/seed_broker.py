#!/usr/bin/env python3
"""The broker the lab's programs were written for, as tests need it: ROUTER to ROUTER, in memory, on its own.

    seed_broker.py CLIENTS_PORT WORKERS_PORT [LOGGER_URL] [--basic]

What it does is what was read in, and measured at, the original: queues by class; two seconds for an answer, then the job
goes to another worker and the slow one is forgotten; and a late answer ends the broker, as it ends the original. With
--basic: the first broker, which knows neither classes nor time. Port 0: a free one. It prints `clients URL` and `workers URL`.
"""

import argparse
import sys
import time
from collections import defaultdict, deque

import zmq

WINDOW_S = 2.0


def arguments():
    words = argparse.ArgumentParser(description="The lab's broker.")
    words.add_argument("clients_port")
    words.add_argument("workers_port")
    words.add_argument("logger_url", nargs="?")
    words.add_argument("--basic", action="store_true")
    return words.parse_args()


class Broker:
    """Both sockets, and the log that goes to standard output or to a logger."""

    def __init__(self, options):
        context = zmq.Context()
        self.clients = self.bound(context, options.clients_port, "clients")
        self.workers = self.bound(context, options.workers_port, "workers")
        self.logger = None
        if options.logger_url:
            self.logger = context.socket(zmq.PUSH)
            self.logger.connect(options.logger_url)

    def bound(self, context, port, name):
        router = context.socket(zmq.ROUTER)
        router.bind(f"tcp://127.0.0.1:{port if port != '0' else '*'}")
        print(name, router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"), flush=True)
        return router

    def annotate(self, prefix, who, job_class):
        line = f'{prefix} {who.decode(errors="replace")} (class "{job_class.decode(errors="replace")}")'
        if self.logger:
            self.logger.send_string(line)
        else:
            print(line, flush=True)

    def serve(self):
        poller = zmq.Poller()
        poller.register(self.clients, zmq.POLLIN)
        poller.register(self.workers, zmq.POLLIN)
        while True:
            ready = dict(poller.poll(self.patience_ms()))
            self.look_at_clock()
            if self.clients in ready:
                self.from_client(self.clients.recv_multipart())
            if self.workers in ready:
                self.from_worker(self.workers.recv_multipart())

    def patience_ms(self):
        return None

    def look_at_clock(self):
        pass


class Basic(Broker):
    """One queue of requests, one of workers."""

    def __init__(self, options):
        super().__init__(options)
        self.waiting, self.free = deque(), deque()

    def from_client(self, frames):
        client, _, message = frames
        if self.free:
            self.workers.send_multipart([self.free.popleft(), b"", client, b"", message])
        else:
            self.waiting.append((client, message))

    def from_worker(self, frames):
        worker, _, client, _, reply = frames
        if client:
            self.clients.send_multipart([client, b"", reply])
        if self.waiting:
            client, message = self.waiting.popleft()
            self.workers.send_multipart([worker, b"", client, b"", message])
        else:
            self.free.append(worker)


class Classes(Broker):
    """Queues by class and a window for every answer."""

    def __init__(self, options):
        super().__init__(options)
        self.waiting, self.free = defaultdict(deque), defaultdict(deque)
        # Busy workers: what each was sent, of which class, until when.
        self.busy = {}
        self.annotate("CONNECTED", b"", b"")

    def patience_ms(self):
        if not self.busy:
            return None
        first = min(until for _, _, until in self.busy.values())
        return max(0, first - time.monotonic()) * 1000

    def look_at_clock(self):
        now = time.monotonic()
        for worker in [worker for worker, (_, _, until) in self.busy.items() if until <= now]:
            job, job_class, _ = self.busy.pop(worker)
            self.annotate("TOUT EXPIRED", worker, job_class)
            self.request(job, job_class)

    def request(self, job, job_class):
        if self.free[job_class]:
            worker = self.free[job_class].popleft()
            self.annotate("UNQUEUEING Worker", worker, job_class)
            self.send(worker, job, job_class)
        else:
            self.annotate("QUEUEING Client", job[0], job_class)
            self.waiting[job_class].append(job)

    def send(self, worker, job, job_class):
        self.annotate("TO Worker", worker, job_class)
        self.workers.send_multipart([worker, b"", *job])
        self.busy[worker] = (job, job_class, time.monotonic() + WINDOW_S)
        self.annotate("TOUT HANDLER", worker, b"")

    def from_client(self, frames):
        client, _, *message, job_class = frames
        self.annotate("FROM Client", client, job_class)
        self.request([client, b"", *message], job_class)

    def from_worker(self, frames):
        worker, *rest, job_class = frames
        if len(rest) == 2:
            self.annotate("REGISTERING Worker", worker, job_class)
        else:
            if worker not in self.busy:
                print(f"TypeError: nobody waits for {worker!r} any more", file=sys.stderr)
                sys.exit(1)
            del self.busy[worker]
            self.annotate("TO Client", rest[1], job_class)
            self.clients.send_multipart(rest[1:])
        if self.waiting[job_class]:
            self.send(worker, self.waiting[job_class].popleft(), job_class)
        else:
            self.annotate("QUEUEING Worker", worker, job_class)
            self.free[job_class].append(worker)


if __name__ == "__main__":
    options = arguments()
    (Basic if options.basic else Classes)(options).serve()
