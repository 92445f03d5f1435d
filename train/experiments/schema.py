"""What an experiment's TOML file may say: every key with its default, checked on construction."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from edge.errors import ConfigError

Kind: TypeAlias = Literal["classifier", "siamese", "autoencoder", "anomaly", "committee", "search"]
Pretrained: TypeAlias = bool | Literal["if available"]
Balance: TypeAlias = Literal["none", "weights", "oversample", "cost"]
Schedule: TypeAlias = Literal["one cycle", "flat cosine", "constant"]
RANGES, LOGARITHMIC = ("learning_rate", "weight_decay", "label_smoothing", "mixup", "dropout"), ("learning_rate", "weight_decay")
CHOICES = ("architecture", "augmentation", "balance")
"""What a search may vary: numbers in a range (two of them on a logarithmic scale), and words."""
KINDS_WITH_OPTIONS = ("siamese", "autoencoder", "anomaly")
COMMON = ("kind", "data", "table", "seed", "split", "size", "cost_ratio", "escape_rate", "options", "members", "search", "over", "why")
"""Keys that every kind takes, or that say what they belong to; of the kinds above, the others belong to [options]."""
Value: TypeAlias = str | int | float | bool | list[int]


def _sides(key: str, size: tuple[int, int]) -> None:
    for side in size:
        _between(key, side, 32, 2_048)


def _between(key: str, value: float, low: float, high: float) -> None:
    _require(low <= value <= high, key, value, f"Choose a value from {low:g} to {high:g}")


def _require(condition: bool, key: str, value: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"the experiment's {key} cannot be used", seen=value, remedy=remedy)


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whole groups: fractions of all scans. Experiments of one split and folder are judged on the same scans."""

    validation: float = 0.2
    """Choose the epoch, the threshold, a member's weight; never trained on, never in the figures."""
    held_out: float = 0.2
    """Judged once, at the end."""
    seed: int = 42

    def __post_init__(self) -> None:
        _between("split.validation", self.validation, 0.02, 0.45)
        _between("split.held_out", self.held_out, 0.02, 0.45)


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage of progressive resizing: so many epochs at this height and width."""

    size: tuple[int, int]
    epochs: int

    def __post_init__(self) -> None:
        _sides("stages.size", self.size)
        _between("stages.epochs", self.epochs, 1, 10_000)


class FineTune(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fastai's `fine_tune`: first the head alone, then everything with lower rates towards the input."""

    frozen_epochs: int = 1

    def __post_init__(self) -> None:
        _between("fine_tune.frozen_epochs", self.frozen_epochs, 1, 1_000)


class EarlyStopping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stop when the loss on the validation scans has not improved for `patience` epochs."""

    patience: int = 5

    def __post_init__(self) -> None:
        _between("early_stopping.patience", self.patience, 1, 10_000)


class ReduceOnPlateau(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Divide the learning rate by `factor` when that loss has not improved for `patience` epochs; wants schedule = "constant"."""

    patience: int = 3
    factor: float = 10.0

    def __post_init__(self) -> None:
        _between("reduce_on_plateau.patience", self.patience, 1, 10_000)
        _between("reduce_on_plateau.factor", self.factor, 1.01, 1_000)


class Search(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An Optuna study over the options of `kind` "search": TPE, median pruning, the loss on the validation scans made small."""

    trials: int = 20
    epochs: int = 0
    """Of one trial; 0: as many as the experiment has."""
    warm_up_trials: int = 4
    """Trials that are never pruned and drawn at random."""
    space: dict[str, list[float | str]] = {}
    """Name → [least, greatest] of learning_rate, weight_decay (both drawn on a log scale), label_smoothing, mixup, dropout;
    or name → the values to choose from: architecture (so come widths), augmentation, balance."""

    def __post_init__(self) -> None:
        _between("search.trials", self.trials, 1, 10_000)
        _between("search.warm_up_trials", self.warm_up_trials, 1, 10_000)
        for key, values in self.space.items():
            _require(key in (*RANGES, *CHOICES), "search.space", key, f"Choose from: {', '.join((*RANGES, *CHOICES))}")
            words = all(isinstance(value, str) for value in values)
            if key in CHOICES:
                _require(words and bool(values), f"search.space.{key}", values, "Give the words to choose from")
            else:
                fits = not words and len(values) == 2 and values[0] < values[1]  # type: ignore[operator]
                _require(fits, f"search.space.{key}", values, "Give [least, greatest]")


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run, or with `over` a family of them."""

    name: str
    kind: Kind = "classifier"
    data: str = ""
    """Folder of scans below --data, or an absolute path."""
    table: str = ""
    """CSV with the groups below the folder; empty: the one that is there."""
    seed: int = 42
    """Of weights, order and augmentation."""
    split: Split = Split()

    architecture: str = "small"
    size: tuple[int, int] | None = None
    """Height and width; default: the folder's heightmap spec."""
    stages: tuple[Stage, ...] = ()
    """Progressive resizing: instead of `size` and `epochs`, which are then the last stage's size and all stages' epochs."""
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 3e-3
    """The schedule's highest."""
    lr_find: Literal["no", "report", "use"] = "no"
    weight_decay: float = 0.05
    dropout: float | None = None
    """Of every dropout layer of the network; default: the network's own."""
    schedule: Schedule = "one cycle"
    pretrained: Pretrained = False
    fine_tune: FineTune | None = None
    augmentation: Literal["none", "slight", "gentle", "strong"] = "gentle"
    mixup: float = 0.0
    """Alpha of the Beta distribution; 0: off."""
    label_smoothing: float = 0.0
    test_time_augmentation: int = 0
    """Changed copies of each scan that are averaged with it; 0: off. The box does not do this."""
    early_stopping: EarlyStopping | None = None
    reduce_on_plateau: ReduceOnPlateau | None = None
    keep: Literal["last", "best"] = "last"
    """Which epoch's weights: the last one's, or those with the least loss on the validation scans."""

    balance: Balance = "weights"
    """Rare labels weigh more, are drawn more often, or nothing; "cost": as "weights", and bad welds `cost_ratio` times as much."""
    cost_ratio: float = 10.0
    """One escape costs as much as so many overkills: the threshold chosen on the validation scans makes the cost least."""
    escape_rate: float | None = None
    """Instead: the highest threshold that accepts at most this fraction of the validation scans' bad welds."""

    calibrate: Literal["no", "temperature", "platt"] = "no"
    """Classifiers: probabilities calibrated on the validation scans, inside the network's last layer."""

    options: dict[str, Any] = {}
    """Siamese, autoencoder, anomaly: the options of that kind of network, by name."""
    members: tuple[str, ...] = ()
    """Committee: names of runs in the same table, at least two."""
    search: Search = Search()
    over: dict[str, list[Value]] = {}
    """Key → values: one run per combination, named NAME-value-value."""
    why: str = ""
    """For readers."""

    def __post_init__(self) -> None:
        _require(bool(self.name) and all(c.isalnum() or c in "-_." for c in self.name), "name", self.name, "Use letters, digits, - _ .")
        _require(not self.name.startswith("."), "name", self.name, "Start with a letter or a digit")
        _between("epochs", self.epochs, 1, 10_000)
        _between("batch_size", self.batch_size, 2, 4_096)
        _between("learning_rate", self.learning_rate, 1e-7, 1.0)
        _between("weight_decay", self.weight_decay, 0.0, 1.0)
        _between("dropout", self.dropout or 0.0, 0.0, 0.95)
        _between("mixup", self.mixup, 0.0, 10.0)
        _between("label_smoothing", self.label_smoothing, 0.0, 0.9)
        _between("test_time_augmentation", self.test_time_augmentation, 0, 64)
        _between("cost_ratio", self.cost_ratio, 1e-3, 1e6)
        _between("seed", self.seed, 0, 2**31 - 1)
        if self.escape_rate is not None:
            _between("escape_rate", self.escape_rate, 0.0, 0.5)
        if self.size is not None:
            _sides("size", self.size)
        self._require_together()

    def _require_together(self) -> None:
        plateau = self.reduce_on_plateau is None or self.schedule == "constant"
        _require(plateau, "reduce_on_plateau", f'schedule = "{self.schedule}"', 'Add schedule = "constant"')
        two = self.fine_tune is None or not self.stages
        _require(two, "fine_tune", f"{len(self.stages)} stages", "Take either fine_tune or stages")
        cycle = self.fine_tune is None or self.schedule == "one cycle"
        _require(cycle, "fine_tune", f'schedule = "{self.schedule}"', "fine_tune has its own schedule: leave schedule out")
        committee = self.kind == "committee"
        _require(not committee or len(set(self.members)) > 1, "members", list(self.members), "Name two or more different runs")
        _require(committee or not self.members, "members", self.kind, 'Only kind = "committee" has members')
        alone = self.kind in ("classifier", "search")
        _require(alone or self.calibrate == "no", "calibrate", self.kind, "Only a classifier's scores are calibrated: leave it out")
        _require(not (alone and self.options), "options", list(self.options), "Options of a classifier are keys of the file itself")
        tuned = self.fine_tune is None or self.pretrained is not False
        _require(tuned, "fine_tune", "pretrained = false", 'Add pretrained = true, or "if available": fresh weights must not be frozen')
        _require(self.kind != "search" or bool(self.search.space), "search.space", "nothing", "Say what may vary, and how far")
        _require(committee or bool(self.data) or "data" in self.over, "data", "nothing", "Name the folder of scans")

    @property
    def epochs_in_all(self) -> int:
        """As many as will be trained when nothing stops them early."""
        if self.stages:
            return sum(stage.epochs for stage in self.stages)
        return self.epochs + (self.fine_tune.frozen_epochs if self.fine_tune else 0)

    @property
    def last_size(self) -> tuple[int, int] | None:
        """Height and width that the finished network takes; None: the folder's."""
        return self.stages[-1].size if self.stages else self.size
