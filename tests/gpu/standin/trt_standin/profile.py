"""IOptimizationProfile: what is wrong with it shows in its truth value and nowhere else."""

from __future__ import annotations

from typing import Any

from trt_standin.binding import Bound
from trt_standin.logger import Voice
from trt_standin.values import Dims


class IOptimizationProfile(Bound):
    """Ranges of the inputs' shapes."""

    __slots__ = ("_shapes", "_voice")
    _shapes: dict[str, tuple[Dims, Dims, Dims]]
    _voice: Voice

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 -- NVIDIA's names
        self._shapes[input] = (self._api.dims(min), self._api.dims(opt), self._api.dims(max))

    def get_shape(self, input: str) -> list[Dims]:  # noqa: A002 -- NVIDIA's name
        return list(self._shapes.get(input, ()))

    def __bool__(self) -> bool:
        for name, (least, best, most) in self._shapes.items():
            sizes: Any = (tuple(least[:]), tuple(best[:]), tuple(most[:]))
            ranks = {len(size) for size in sizes}
            if len(ranks) > 1 or not all(a <= b <= c for a, b, c in zip(*sizes, strict=True)):
                self._voice.error(f"IOptimizationProfile::isValid: Invalid optimization profiles for input tensors {name}, MIN<=OPT<=MAX.")
                return False
        return True
