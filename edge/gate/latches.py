"""Why nothing is accepted until a person has looked, and the rules by which the gate comes to that; pure."""

from __future__ import annotations

from collections import deque

from edge.contract import Reason

NOISE_WINDOW_NS = 10 * 10**9
FAILURES = 3
FAILURE_WINDOW_NS = 60 * 10**9
FAILURE_REASONS = (Reason.ENGINE_FAILED, Reason.GPU_FAULT)
MAX_REASONS = 32
"""Reasons kept; the first ones say what to look at."""


class Window:
    """Counts things within a sliding time; holds what it counted, so that whoever counts must clear it at a limit."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._seen: deque[tuple[int, int]] = deque()

    def add(self, count: int, now_ns: int) -> int:
        """Count these; returns how many there were within the window."""
        self._seen.append((now_ns, count))
        while now_ns - self._seen[0][0] >= self._window_ns:
            self._seen.popleft()
        return sum(counted for _, counted in self._seen)

    def clear(self) -> None:
        """Begin anew."""
        self._seen.clear()


class Latches:
    """The reasons in force; they go only by a person's acknowledgement."""

    def __init__(self, noise_limit: int) -> None:
        """More than `noise_limit` broken frames within 10 s are a reason; 0: they never are."""
        self.reasons: tuple[str, ...] = ()
        self.noise_limit = noise_limit
        self._noise = Window(NOISE_WINDOW_NS)
        self._failures = Window(FAILURE_WINDOW_NS)

    def add(self, why: str) -> bool:
        """Put a reason in force; False when it was already, or when there are so many that one more says nothing."""
        if why in self.reasons or len(self.reasons) >= MAX_REASONS:
            return False
        self.reasons += (why,)
        return True

    def clear(self) -> None:
        """A person has looked: start counting again."""
        self.reasons = ()
        self._noise.clear()
        self._failures.clear()

    def noise(self, count: int, now_ns: int) -> str | None:
        """`count` (1 or more) broken frames arrived; returns the reason to latch once there are too many."""
        if not self.noise_limit:
            return None
        seen = self._noise.add(count, now_ns)
        if seen <= self.noise_limit:
            return None
        self._noise.clear()
        return f"noise on the robot's line: {seen} broken frames within {NOISE_WINDOW_NS // 10**9} s"

    def failure(self, reason: Reason, detail: str, now_ns: int) -> str | None:
        """An engine or GPU failed; returns the reason to latch once that was too often."""
        seen = self._failures.add(1, now_ns)
        if seen < FAILURES:
            return None
        self._failures.clear()
        return f"{seen} engine or GPU failures within {FAILURE_WINDOW_NS // 10**9} s, the last one: {reason.value} {detail}"
