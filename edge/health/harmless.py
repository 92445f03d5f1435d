"""Numbers may never cost a verdict: an error in keeping them ends their keeping, and is told, instead of the process."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

if TYPE_CHECKING:  # a protocol takes a tenth of what the gate's start has for its numbers

    class Keeper(Protocol):
        """Whoever keeps numbers."""

        problem: str
        """Why they stand still; empty while they do not."""

        def stand_still(self) -> None:
            """Mark them as such for readers."""


M = TypeVar("M", bound=Callable[..., None])


def harmless(method: M) -> M:
    """`method` of a Keeper does nothing once there is a `problem`; whatever it raises becomes one."""

    @wraps(method)
    def called(self: Keeper, *arguments: Any, **named: Any) -> None:
        if self.problem:
            return
        try:
            method(self, *arguments, **named)
        except Exception as exc:  # noqa: BLE001 - told by whoever looks at `problem`
            self.problem = f"the numbers for `cordon status` stand still: {type(exc).__name__}: {exc}"
            self.stand_still()

    return cast("M", called)
