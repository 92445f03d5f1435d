"""How classes made by pybind11 behave: no constructor, no stray attributes, members that only some versions have."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from trt_standin.surface import Surface

Family = Literal["10.3", "10.16", "11.4", "rtx"]
FAMILIES: tuple[Family, ...] = ("10.3", "10.16", "11.4", "rtx")

_F = TypeVar("_F", bound=Callable[..., Any])


def only(*families: Family) -> Callable[[_F], _F]:
    """The decorated method, or getter of a property, exists in these families alone."""

    def mark(function: _F) -> _F:
        function._families = families  # type: ignore[attr-defined]
        return function

    return mark


class _Absent:
    """What stands in a class where its version has no such member."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        kind = f"type object '{owner.__name__}'" if instance is None else f"'{owner.__module__}.{owner.__name__}' object"
        raise AttributeError(f"{kind} has no attribute '{self._name}'")

    def __set__(self, instance: object, value: object) -> None:
        self.__get__(instance, type(instance))


def bind(template: type, family: Family, module: str, surface: Surface) -> type:
    """`template` as the version of `family` has it."""
    members: dict[str, Any] = {"__slots__": (), "__module__": module, "_api": surface}
    for holder in reversed(template.__mro__):
        for name, value in vars(holder).items():
            families = getattr(value.fget if isinstance(value, property) else value, "_families", FAMILIES)
            if family not in families:
                members[name] = _Absent(name)
    return type(template.__name__, (template,), members)


class Bound:
    """A type that only its library makes objects of."""

    __slots__ = ("__weakref__",)
    _api: Surface

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__module__}.{type(self).__name__}: No constructor defined!")


class Overridable:
    """A type that the user derives from, whose own constructor he must call."""

    __slots__ = ("_ready",)
    _api: Surface

    def __init__(self) -> None:
        self._ready = True


def pure(name: str, *arguments: Any) -> RuntimeError:
    """What calling a method gives that the user was to override."""
    return RuntimeError(f'Tried to call pure virtual function "{name}" with {arguments}')


def require(value: Any, kind: type, function: str) -> Any:
    """`value` where it is a `kind` with its constructor called. Raises TypeError as pybind11 does."""
    if not isinstance(value, kind):
        raise TypeError(f"{function}(): incompatible function arguments. Wanted {kind.__module__}.{kind.__name__}. Invoked with: {value!r}")
    if isinstance(value, Overridable) and not hasattr(value, "_ready"):
        raise TypeError(f"{kind.__module__}.{kind.__name__}.__init__() must be called when overriding __init__")
    return value


def integer(value: Any, function: str) -> int:
    """`value` as pybind11 takes an integer: by __index__ or __int__, never a float. Raises TypeError."""
    if not isinstance(value, (float, str, bytes)):
        try:
            return operator.index(value) if hasattr(value, "__index__") else int(value)
        except TypeError:
            pass
    raise TypeError(f"{function}(): incompatible function arguments. Wanted an integer. Invoked with: {value!r}")


class TrtEnum(enum.Enum):
    """A py::enum_: members are no integers, but convert to them."""

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return int(self.value)


class OrderedEnum(TrtEnum):
    """A py::enum_ with py::arithmetic: compares with its own kind only."""

    def _other(self, other: object) -> int:
        if type(other) is not type(self):
            raise TypeError("Expected an enumeration of matching type!")
        return int(other)

    def __lt__(self, other: object) -> bool:
        return int(self) < self._other(other)

    def __le__(self, other: object) -> bool:
        return int(self) <= self._other(other)

    def __gt__(self, other: object) -> bool:
        return int(self) > self._other(other)

    def __ge__(self, other: object) -> bool:
        return int(self) >= self._other(other)


def enumeration(kind: type[TrtEnum], name: str, module: str, members: Iterable[tuple[str, int]]) -> Any:
    """An enum of `kind`; a value given twice makes an alias."""
    make: Any = kind
    return make(name, list(members), module=module, qualname=name)
