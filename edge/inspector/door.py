"""A listening TCP socket whose kernel filter drops connection attempts before this process hears of them."""

from __future__ import annotations

import ctypes
import logging
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Network

from edge.errors import ConfigError

SO_ATTACH_FILTER = 26
"""asm-generic/socket.h; the same number on x86-64 and aarch64. Needs no privilege."""
SKF_NET_OFF = 0xFFF00000
"""linux/filter.h: offsets from here on count from the IP header; smaller ones, in a TCP socket's filter, from the TCP header."""
SOURCE, FLAGS = SKF_NET_OFF + 12, 13
SYN, SYN_ACK = 0x02, 0x12
LOAD_WORD, LOAD_BYTE, AND, EQUAL, RETURN = 0x20, 0x30, 0x54, 0x15, 0x06
"""Classic BPF: what linux/bpf_common.h builds of BPF_LD, BPF_ALU, BPF_JMP and BPF_RET."""
DROP, PASS = 0, 0xFFFFFFFF
BACKLOG = 512
Instruction = tuple[int, int, int, int]

log = logging.getLogger("cordon.inspector")


class Door:
    """Open to the networks in `allow` after construction; `shut` lets nobody in any more. What is connected stays so either way.

    Raises ConfigError where the address cannot be bound.
    """

    def __init__(self, endpoint: str, allow: Sequence[str]) -> None:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self._open = _program(opened([IPv4Network(text) for text in allow]))
        self._shut = _program(opened([]))
        self.filters = True
        """Does the kernel filter? Where it cannot, ZeroMQ still refuses strange addresses, after it accepted them."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.open()
            self.socket.bind(("" if host == "*" else host, int(port)))
            self.socket.listen(BACKLOG)
        except OSError as exc:
            self.socket.close()
            remedy = "Give an address of this box and a port that nothing else listens at"
            raise ConfigError("inspector.camera.endpoint cannot be listened at", seen=f"{endpoint}: {exc.strerror}", remedy=remedy) from exc

    @property
    def endpoint(self) -> str:
        """Where it listens, with the port the system chose where the configuration says 0."""
        host, port = self.socket.getsockname()
        return f"tcp://{host}:{port}"

    def open(self) -> None:
        """Whoever comes from an allowed address may connect."""
        self._attach(self._open)

    def shut(self) -> None:
        """Nobody may connect: the attempt gets no answer, and its sender tries again later."""
        self._attach(self._shut)

    def close(self) -> None:
        """Nothing listens any more."""
        self.socket.close()

    def _attach(self, program: ctypes.Array[ctypes.c_char]) -> None:
        if not self.filters:
            return
        length = len(program) // 8
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", length, ctypes.addressof(program)))
        except OSError as exc:
            self.filters = False
            log.warning("this kernel filters no connections (%s): strangers cost this process an accept each", exc.strerror)


def opened(networks: Sequence[IPv4Network]) -> list[Instruction]:
    """The filter that drops a SYN unless its source is in one of `networks`; every other packet passes, for it belongs to a connection."""
    tests = [
        instruction
        for place, network in enumerate(networks)
        for instruction in (
            (LOAD_WORD, 0, 0, SOURCE),
            (AND, 0, 0, int(network.netmask)),
            (EQUAL, 3 * (len(networks) - 1 - place) + 1, 0, int(network.network_address)),
        )
    ]
    head = [(LOAD_BYTE, 0, 0, FLAGS), (AND, 0, 0, SYN_ACK), (EQUAL, 0, len(tests) + 1, SYN)]
    return [*head, *tests, (RETURN, 0, 0, DROP), (RETURN, 0, 0, PASS)]


def _program(instructions: Sequence[Instruction]) -> ctypes.Array[ctypes.c_char]:
    """As the kernel reads it, in memory that stays where it is."""
    data = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    return ctypes.create_string_buffer(data, len(data))
