#!/usr/bin/env python3
"""Says any frames to a broker's port and prints what comes back, each message a JSON array of texts.

    speak.py KIND URL JSON... [--identity ID] [--replies N] [--timeout SECONDS]

KIND is req, dealer or push; each JSON is an array of texts, one message. Sends them in order, then waits for N replies (as
many as messages, none for push). Exit code: 0 so many came and no more within half a second; 1 fewer or more.
"""

import argparse
import json
import sys

import zmq


def main():
    words = argparse.ArgumentParser()
    words.add_argument("kind", choices=["req", "dealer", "push"])
    words.add_argument("url")
    words.add_argument("messages", nargs="+")
    words.add_argument("--identity")
    words.add_argument("--repeat-frame", type=int, default=1, help="each message's last frame so often")
    words.add_argument("--replies", type=int)
    words.add_argument("--timeout", type=float, default=60)
    options = words.parse_args()
    kinds = {"req": zmq.REQ, "dealer": zmq.DEALER, "push": zmq.PUSH}
    socket = zmq.Context().socket(kinds[options.kind])
    socket.setsockopt(zmq.LINGER, 2000)
    if options.identity:
        socket.setsockopt_string(zmq.IDENTITY, options.identity)
    socket.connect(options.url)
    in_turn = options.kind == "req"
    expected = options.replies
    if expected is None:
        expected = 0 if options.kind == "push" else len(options.messages)
    come = 0
    for message in options.messages:
        frames = [text.encode() for text in json.loads(message)]
        socket.send_multipart(frames + frames[-1:] * (options.repeat_frame - 1))
        if in_turn and come < expected:
            come += take(socket, options.timeout)
    while come < expected:
        come += take(socket, options.timeout)
    if options.kind == "dealer" and socket.poll(500):
        print(f"one too many: {socket.recv_multipart()}", file=sys.stderr)
        return 1
    return 0


def take(socket, patience_s):
    if not socket.poll(patience_s * 1000):
        print(f"no reply within {patience_s:g} s", file=sys.stderr)
        sys.exit(1)
    frames = [frame.decode(errors="replace") for frame in socket.recv_multipart()]
    print(json.dumps(frames), flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
