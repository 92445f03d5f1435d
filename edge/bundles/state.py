"""What the store remembers, in one file: replacing it is the switch from one bundle to another, floor and history included."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from typing import Literal

import msgspec

from edge.errors import StoreError

STATE = "state.json"
MAX_STATE_BYTES = 4 * 1024 * 1024
MAX_EVENTS = 1_000
_HASH = re.compile(r"[0-9a-f]{64}\Z")


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of the store."""

    at: str
    """UTC, ISO 8601, as the box's clock had it."""
    action: str
    bundle: str
    version: int
    reason: str = ""
    user: int
    """Who ran the command."""


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a bundle's golden inputs agreed on this box."""

    version: int
    answers: int
    backend: str


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which bundle is active, which was before, and what may not come back. Bundles are named by their hash, "" is none."""

    format: Literal[1] = 1
    line: str = ""
    """The name that every bundle must carry; fixed by the first one activated."""
    active: str = ""
    previous: str = ""
    floor: int = 0
    """Nothing older is loaded: the version of the newest bundle that was replaced."""
    highest: int = 0
    """The newest version ever activated; nothing older is taken without a reason."""
    exempt: dict[str, str] = {}
    """Bundles below the floor that somebody allowed, with the reason."""
    proved: dict[str, Proof] = {}
    history: tuple[Event, ...] = ()

    def with_event(self, action: str, bundle: str, version: int, reason: str = "") -> State:
        """The same with one more event; the oldest make room."""
        now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        event = Event(at=now, action=action, bundle=bundle, version=version, reason=reason, user=os.getuid())
        return msgspec.structs.replace(self, history=(*self.history, event)[-MAX_EVENTS:])

    def allows(self, bundle: str, version: int) -> bool:
        """May it be loaded, as far as versions go?"""
        return version >= self.floor or bundle in self.exempt


def encode_state(state: State) -> bytes:
    """SHA-256 of the JSON in hex, a newline, the JSON."""
    text = msgspec.json.encode(state)
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def decode_state(data: bytes) -> State:
    """Raises StoreError for anything that `encode_state` did not write."""
    digest, _, text = data.partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise _damaged("its checksum is another")
    try:
        state = msgspec.json.decode(text, type=State)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise _damaged(str(exc)) from exc
    named = [name for name in (state.active, state.previous) if name]
    for name in named:
        if _HASH.match(name) is None or name not in state.proved:
            raise _damaged(f"{name[:64]!r} was never proved here")
    if state.active and not 0 <= state.floor <= state.highest:
        raise _damaged(f"floor {state.floor}, highest {state.highest}")
    if any(state.proved[name].version > state.highest or not state.allows(name, state.proved[name].version) for name in named):
        raise _damaged(f"floor {state.floor} and highest {state.highest} do not fit the active bundle")
    return state


def _damaged(seen: str) -> StoreError:
    remedy = "Somebody or a disk changed it: restore it from a backup, or look who did and begin with an empty store"
    return StoreError(f"{STATE} of the bundle store cannot be trusted", seen=seen, remedy=remedy)
