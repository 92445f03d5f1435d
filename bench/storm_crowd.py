"""The strangers of `cordon bench storm`, in a process of their own: many connections to one port, which do as badly as they can."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal, TypeAlias, get_args

import zmq

Mode: TypeAlias = Literal["hold", "garbage", "stall", "null", "curve"]
AT_ONCE = 100
"""Attempts begun between two looks at those that are open."""
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01"
SAYS: dict[str, bytes] = {
    "hold": b"",
    "garbage": b"",
    "stall": GREETING + b"CURVE".ljust(20, b"\0") + bytes(32),
    "null": GREETING + b"NULL".ljust(20, b"\0") + bytes(32) + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB",
}


@dataclass
class Raw:
    """Raw connections: each says its piece as soon as it is through, and is made anew when the other side ends it."""

    address: tuple[str, int]
    source: str
    mode: Mode
    wanted: int
    attempts: int = 0
    through: int = 0
    ended: int = 0
    open: dict[int, socket.socket] = field(default_factory=dict)
    poll: select.epoll = field(default_factory=select.epoll)

    def step(self) -> None:
        """Begin what is missing, then hear of the others."""
        for _ in range(min(AT_ONCE, self.wanted - len(self.open))):
            self._begin()
        for number, _events in self.poll.poll(0.01):
            connection = self.open[number]
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._end(number)
            elif _events & select.EPOLLOUT:
                self.through += 1
                self._say(connection)
            else:
                self._hear(connection)

    def _begin(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        self.attempts += 1
        try:
            connection.bind((self.source, 0))
            connection.connect(self.address)
        except BlockingIOError:
            pass
        except OSError:
            connection.close()
            return
        self.open[connection.fileno()] = connection
        self.poll.register(connection, select.EPOLLOUT)

    def _say(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.send(os.urandom(200) if self.mode == "garbage" else SAYS[self.mode])
        self.poll.modify(connection, select.EPOLLIN)

    def _hear(self, connection: socket.socket) -> None:
        try:
            while connection.recv(65_536):
                continue
        except BlockingIOError:
            return
        except OSError:
            pass
        self.ended += 1
        self._end(connection.fileno())

    def _end(self, number: int) -> None:
        self.poll.unregister(number)
        self.open.pop(number).close()


@dataclass
class Keyed:
    """ZeroMQ's own clients with CURVE and a key that nobody knows, made anew in turn as fast as the machine makes them."""

    endpoint: str
    server: bytes
    wanted: int
    attempts: int = 0
    through: int = 0
    ended: int = 0
    open: list[zmq.Socket[bytes]] = field(default_factory=list)
    context: zmq.Context[zmq.Socket[bytes]] = field(default_factory=zmq.Context)

    def __post_init__(self) -> None:
        self.context.set(zmq.MAX_SOCKETS, 4 * self.wanted + 64)
        self._pair = zmq.curve_keypair()

    def step(self) -> None:
        """One more, and one less when there are enough."""
        if len(self.open) >= self.wanted:
            self.open.pop(0).close(linger=0)
            time.sleep(0.0005)  # closing is done by another thread, which must keep up
        client = self.context.socket(zmq.PUB)
        for option, value in ((zmq.LINGER, 0), (zmq.RECONNECT_IVL, 1), (zmq.RECONNECT_IVL_MAX, 10)):
            client.setsockopt(option, value)
        client.setsockopt(zmq.CURVE_PUBLICKEY, self._pair[0])
        client.setsockopt(zmq.CURVE_SECRETKEY, self._pair[1])
        client.setsockopt(zmq.CURVE_SERVERKEY, self.server)
        client.connect(self.endpoint)
        self.attempts += 1
        self.open.append(client)


def main(argv: Sequence[str]) -> int:
    """Wait for a line on standard input, besiege one port until SIGTERM, then print what came of it as JSON. SIGUSR1: count who is in."""
    parser = argparse.ArgumentParser(prog="python -m bench.storm_crowd", description=main.__doc__)
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    parser.add_argument("--mode", choices=get_args(Mode), required=True)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--source", default="127.0.0.1", help="address that the connections come from (default %(default)s)")
    parser.add_argument("--server-key", default="", help="public key of the side that binds, for curve")
    arguments = parser.parse_args(argv)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    host, _, port = arguments.target.rpartition(":")
    crowd: Raw | Keyed
    if arguments.mode == "curve":
        crowd = Keyed(f"tcp://{arguments.source}:0;{host}:{port}", arguments.server_key.encode(), arguments.connections)
    else:
        crowd = Raw((host, int(port)), arguments.source, arguments.mode, arguments.connections)
    going = True

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal going
        going = False

    inside: list[int] = []
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, lambda _signal, _frame: inside.append(crowd.through))
    print("at the gates", flush=True)
    sys.stdin.readline()
    while going:
        crowd.step()
    met = {"attempts": crowd.attempts, "through": crowd.through, "ended": crowd.ended, "open": len(crowd.open)}
    print(json.dumps(met | ({"through_while_heard": inside[0]} if inside else {})), flush=True)
    os._exit(0)  # a thousand sockets take seconds to close one by one, and the kernel no time


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
