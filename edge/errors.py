"""Every error this project raises on purpose, as one tree, each saying what failed, what was seen and what to do.

CordonError
├── ConfigError              a key of the configuration file is missing, unknown or out of range
│   └── ConfigFileError      a configuration or recipe file with one or more mistakes, each with its line
├── BundleError              the bundle may not be used
│   ├── BundleFormatError    not a bundle, truncated, or a manifest that does not fit the schema
│   ├── BundleSignatureError unsigned, altered, or signed by a key this box does not trust
│   ├── BundleContentError   a file of the bundle is missing or differs from its SHA-256
│   ├── BundlePolicyError    genuine, but not for this box: revoked, too old, of another line
│   └── StoreError           the box's folder of bundles cannot be trusted or used
├── KnownAnswerError         a golden input did not give the score the bundle promises
├── EngineError              a network could not be compiled or run
│   ├── BudgetError      the networks work, but not within the budget on this machine
│   ├── EngineTrustError     an engine's bytes or record are not what the box's key vouches for, or others can write them
│   └── GpuError             the GPU, its driver or its memory failed: nothing it computes counts any more, the process must end
├── FrameError               a camera frame that may not be judged; carries the verdict's reason
├── LinkError                the serial link to the robot
│   ├── PortMissingError     no such device
│   ├── PortBusyError        another process holds the device
│   └── PortGoneError        the device was unplugged while open
├── RecordError              the durable record
│   ├── StorageError         a write or a commit failed
│   │   └── DamagedError     the record file itself is corrupt, or another release's
│   └── ChainError           the hash chain is broken: a record was changed or lost
├── ContractError            gate and inspector do not understand each other
├── DatasetError             a training or calibration folder that cannot be used
├── ExportError              a trained network that cannot become a bundle
└── SimulationError          a simulated camera, robot or line that could not do its part
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge.contract import Reason


class CordonError(Exception):
    """The root: `what` failed, the value `seen`, and the `remedy`; `str()` joins the three in one sentence each."""

    def __init__(self, what: str, *, seen: object = None, remedy: str) -> None:
        self.what = what
        self.seen = seen
        self.remedy = remedy
        shown = "" if seen is None else f" (seen: {seen})"
        super().__init__(f"{what}{shown}. {remedy}")


class ConfigError(CordonError):
    """A key of the configuration file is missing, unknown or out of range."""


class Mistake(NamedTuple):
    """One mistake in a file that a person wrote. `line` counts from 1; None where the file as a whole lacks something."""

    line: int | None
    key: str
    """Dotted, with `[0]` for the first of a list; empty where the text is no TOML."""
    what: str
    seen: str | None
    remedy: str

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}: "
        return f"{where}{self.what}{'' if self.seen is None else f' (seen: {self.seen})'}. {self.remedy}"


class ConfigFileError(ConfigError):
    """A configuration or recipe file with mistakes: `mistakes` are all that could be found, in the order of their lines."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        if len(self.mistakes) == 1:
            line, _, what, seen, remedy = self.mistakes[0]
            super().__init__(f"{path}, {'' if line is None else f'line {line}: '}{what}", seen=seen, remedy=remedy)
            return
        listed = "".join(f"\n  {mistake}" for mistake in self.mistakes)
        super().__init__(f"{path} has {len(self.mistakes)} mistakes, and nothing was opened", remedy=f"Correct them all:{listed}")


class BundleError(CordonError):
    """The bundle may not be used."""


class BundleFormatError(BundleError):
    """Not a bundle, truncated, or a manifest that does not fit the schema."""


class BundleSignatureError(BundleError):
    """Unsigned, altered, or signed by a key this box does not trust."""


class BundleContentError(BundleError):
    """A file of the bundle is missing or differs from its SHA-256."""


class BundlePolicyError(BundleError):
    """The bundle is genuine, but not for this box: revoked, too old, of another line, or without a typology that is needed."""


class StoreError(BundleError):
    """The box's folder of bundles cannot be trusted or used."""


class KnownAnswerError(CordonError):
    """A golden input did not give the score the bundle promises."""


class EngineError(CordonError):
    """A network could not be compiled or run."""


class BudgetError(EngineError):
    """The networks work, but on this machine they do not keep the robot's budget."""


class EngineTrustError(EngineError):
    """An engine that nobody trusted vouches for: unsigned, altered, or where others can write. Somebody must look before the line runs."""


class GpuError(EngineError):
    """The GPU, its driver or its memory failed: nothing it computes counts any more, and only a new process can use it again."""


class FrameError(CordonError):
    """A camera frame that may not be judged; `reason` is what the verdict will say."""

    def __init__(self, reason: Reason, what: str, *, seen: object = None, remedy: str) -> None:
        self.reason = reason
        super().__init__(what, seen=seen, remedy=remedy)


class LinkError(CordonError):
    """The serial link to the robot."""


class PortMissingError(LinkError):
    """There is no such serial device."""


class PortBusyError(LinkError):
    """Another process holds the serial device."""


class PortGoneError(LinkError):
    """The serial device was unplugged while open (end of file, or an input/output error)."""


class RecordError(CordonError):
    """The durable record."""


class StorageError(RecordError):
    """A write or a commit failed; no ACCEPT may leave until the store was checked."""


class DamagedError(StorageError):
    """The record file itself is corrupt, or of another release: it has to be put aside."""


class ChainError(RecordError):
    """The hash chain is broken: a record was changed, removed or lost."""


class ContractError(CordonError):
    """Gate and inspector do not understand each other."""


class DatasetError(CordonError):
    """A training or calibration folder that cannot be used."""


class ExportError(CordonError):
    """A trained network that cannot become a bundle."""


class SimulationError(CordonError):
    """A simulated camera, robot or line that could not do its part."""
