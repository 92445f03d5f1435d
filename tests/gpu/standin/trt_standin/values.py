"""The small values that TensorRT hands out: dimensions, and host memory behind the buffer protocol."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

from trt_standin.binding import Bound, integer

MAX_DIMS = 8


class Dims:
    """At most eight integers; compares equal to tuples and lists, raises for anything else, another Dims included."""

    __slots__ = ("_count", "_values")
    __hash__ = None  # type: ignore[assignment]
    _api: Any

    def __init__(self, shape: Iterable[int] = ()) -> None:
        values = tuple(integer(value, "__init__") for value in shape)
        if len(values) > MAX_DIMS:
            raise ValueError(f"Input length {len(values)}. Max expected length is {MAX_DIMS}")
        self._values, self._count = values, len(values)

    def __len__(self) -> int:
        # -1 for an unknown tensor: Python itself then refuses, in len() as in tuple().
        return self._count

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._values[index]
        if not -self._count <= index < self._count:
            raise IndexError("Out of bounds")
        return self._values[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (tuple, list)):
            raise TypeError(f"__eq__(): incompatible function arguments. Invoked with: {self!r}, {other!r}")
        return self._values == tuple(other)

    def __repr__(self) -> str:
        return repr(self._values)


def invalid(dims: type[Dims]) -> Dims:
    """What an unknown tensor name gives: -1 dimensions."""
    value = dims()
    value._count = -1
    return value


class IHostMemory(ctypes.Array):  # type: ignore[type-arg]
    """Bytes that TensorRT owns: a buffer without a length, an index or an iterator."""

    _type_ = ctypes.c_ubyte
    _length_ = 0
    _api: Any

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__module__}.{type(self).__name__}: No constructor defined!")

    @property
    def nbytes(self) -> int:
        return self._length_

    @property
    def dtype(self) -> Any:
        return self._api.enums["DataType"].INT8

    def __len__(self) -> int:
        raise TypeError(f"object of type '{type(self).__name__}' has no len()")

    def __getitem__(self, index: Any) -> Any:
        raise TypeError(f"'{type(self).__name__}' object is not subscriptable")

    def __iter__(self) -> Any:
        raise TypeError(f"'{type(self).__name__}' object is not iterable")


def host_memory(kind: type[IHostMemory], data: bytes) -> IHostMemory:
    """`data` as an object of `kind`."""
    sized: Any = type(kind.__name__, (kind,), {"_length_": len(data), "__module__": kind.__module__})
    memory: IHostMemory = sized.from_buffer_copy(data)
    return memory


class Held(Bound):
    """Base of objects whose first slot keeps their maker alive, as pybind11's keep_alive does."""

    __slots__ = ("_maker",)
