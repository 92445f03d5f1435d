"""What a bundle's signature covers: typologies, their members and golden inputs, the router, and the list of files."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from edge.config import NAME
from edge.errors import BundleFormatError
from edge.inspector.heightmap.spec import HeightmapSpec

Kind = Literal["classifier", "siamese", "autoencoder"]
Combine = Literal["mean", "weighted", "vote"]

VOTE_THRESHOLD = 0.5
"""The only threshold of a typology whose members vote: above it lie exactly the scores of a majority for bad."""
MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1e6
"""So far apart that no weighted mean loses its digits."""
MAX_MAP_SIDE = 512
"""Most rows and most columns of a member's map."""
MEMBER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*\Z")
_MAX_FILE_NAME = 200


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file inside the bundle; `offset` counts from the end of the manifest."""

    name: str
    offset: int
    size: int
    sha256: str


class MapOutput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A last output f32 [1, rows, columns]: what each cell of the heightmap, divided evenly, adds to the log-odds of the bad label.

    For people who want to see where; no verdict ever rests on it (docs/explaining.md).
    """

    name: str
    shape: tuple[int, int]
    """(rows, columns)."""

    def __post_init__(self) -> None:
        _check(all(1 <= side <= MAX_MAP_SIDE for side in self.shape), f"shape of output {self.name}", self.shape)


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One network: an ONNX file with one u8 input [1, 1, height, width] and one f32 output [1, classes] of probabilities."""

    name: str
    file: str
    architecture: str
    input: str
    output: str
    classes: tuple[str, ...]
    """Labels in the order of the output; index 0 is the first."""
    kind: Kind = "classifier"
    """How the network comes to its probabilities; reference embeddings or the error's scale lie inside it, so all kinds run alike."""
    weight: float = 1.0
    """Its part in a weighted mean, relative to the other members'."""
    threshold: float | None = None
    """Badness above which it votes bad; needed where members vote."""
    embedding: str | None = None
    """Name of a second output f32 [1, features], where the network gives one to find similar welds by."""
    map: MapOutput | None = None
    """The output that says where it saw what it calls bad, where the network gives one."""

    def __post_init__(self) -> None:
        _check(MEMBER_NAME.match(self.name) is not None, "member name", self.name)
        _check_file(self.file)
        _check(len(self.classes) >= 2 and len(set(self.classes)) == len(self.classes), f"classes of member {self.name}", self.classes)
        _check(MIN_WEIGHT <= self.weight <= MAX_WEIGHT, f"weight of member {self.name}", self.weight)
        _check(self.threshold is None or 0.0 < self.threshold < 1.0, f"threshold of member {self.name}", self.threshold)
        ports = [self.input, self.output, *([] if self.embedding is None else [self.embedding])]
        ports += [] if self.map is None else [self.map.name]
        _check(all(ports) and len(set(ports)) == len(ports), f"input and outputs of member {self.name}", ports)


class Golden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recorded frame with the answer it must give: the payload goes through heightmap and engine at load.

    For the router `label` is the typology and `score` its probability; for a typology `score` is the members' combined badness.
    """

    file: str
    label: str
    kind: Literal["heightmap", "range", "cloud"]
    shape: tuple[int, int]
    """(rows, cols) of pixels or points; a cloud's file holds x, y, z of each."""
    dtype: Literal["u1", "u2", "f4"]
    score: float
    pitch_mm: tuple[float, float] = (1.0, 1.0)
    z_scale_mm: float = 1.0
    z_offset_mm: float = 0.0
    no_data: float = 0.0
    tolerance: float = 0.02
    members: tuple[float, ...] = ()
    """Each member's own badness, proved within the same tolerance when given: a vote or a mean can hide a member that errs."""

    def __post_init__(self) -> None:
        _check_file(self.file)
        _check(all(0.0 <= badness <= 1.0 for badness in (self.score, *self.members)), f"scores of golden input {self.file}", self.score)
        _check(0.0 < self.tolerance < 1.0, f"tolerance of golden input {self.file}", self.tolerance)


class TypologySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything needed to judge one typology: how frames are prepared, which networks run, and where good ends."""

    name: str
    heightmap: HeightmapSpec
    """Of all members; where they normalise differently, `mean` and `std` are the first one's."""
    members: tuple[Member, ...]
    threshold: float
    """Badness, combined over the members, up to which a weld is good."""
    golden: tuple[Golden, ...]
    bad_label: str = "bad"
    combine: Combine = "mean"
    similar: str | None = None
    """File with the embeddings of known welds, as `edge.similar` packs them; the daemon never reads it."""

    def __post_init__(self) -> None:
        _check(NAME.match(self.name) is not None, "typology name", self.name)
        _check(math.isfinite(self.threshold) and 0.0 < self.threshold < 1.0, f"threshold of typology {self.name}", self.threshold)
        self._check_members()
        labels = {g.label for g in self.golden}
        _check(len(labels) >= 2 and self.bad_label in labels, f"golden inputs of typology {self.name} (need good and bad)", labels)
        counts = {len(g.members) for g in self.golden}
        _check(counts <= {0, len(self.members)}, f"members' scores in golden inputs of typology {self.name}", counts)
        if self.similar is not None:
            _check_file(self.similar)
            _check(self.embedder is not None, f"similar welds of typology {self.name} (no member gives an embedding)", self.similar)

    @property
    def embedder(self) -> Member | None:
        """The first member that gives an embedding; the stored embeddings are its."""
        return next((member for member in self.members if member.embedding is not None), None)

    def _check_members(self) -> None:
        _check(bool(self.members), f"members of typology {self.name}", self.members)
        _check(all(self.bad_label in m.classes for m in self.members), f"bad_label of typology {self.name}", self.bad_label)
        for what, seen in (("names", [m.name for m in self.members]), ("files", [m.file for m in self.members])):
            _check(len(set(seen)) == len(seen), f"members' {what} of typology {self.name} (need each once)", seen)
        if self.combine == "vote":
            thresholds = [m.threshold for m in self.members]
            _check(None not in thresholds, f"members' thresholds of typology {self.name} (every one that votes needs its own)", thresholds)
            _check(self.threshold == VOTE_THRESHOLD, f"threshold of typology {self.name} (a vote needs {VOTE_THRESHOLD})", self.threshold)


class RouterSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network that names the typology of a frame that does not; below `confidence` it names none."""

    heightmap: HeightmapSpec
    member: Member
    confidence: float
    golden: tuple[Golden, ...]

    def __post_init__(self) -> None:
        _check(self.member.kind == "classifier", "kind of the router's network (only a classifier names typologies)", self.member.kind)
        _check(0.5 <= self.confidence < 1.0, "router confidence", self.confidence)
        _check(bool(self.golden), "golden inputs of the router", self.golden)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the signature covers."""

    format: Literal[1]
    name: str
    version: int
    typologies: tuple[TypologySpec, ...]
    files: tuple[FileEntry, ...]
    router: RouterSpec | None = None
    provenance: dict[str, str] = {}
    """Tool versions, data hashes, commit; informational."""

    def __post_init__(self) -> None:
        _check(self.version >= 1, "bundle version", self.version)
        names = [t.name for t in self.typologies]
        _check(bool(names) and len(set(names)) == len(names), "typologies (need at least one, each once)", names)
        if self.router is not None:
            _check(set(self.router.member.classes) <= set(names), "router classes", self.router.member.classes)
        for entry in self.files:
            _check_file(entry.name)
        missing = self._wanted() - {f.name for f in self.files}
        _check(not missing, "files that the manifest refers to but does not list", sorted(missing))

    def _wanted(self) -> set[str]:
        wanted = {m.file for t in self.typologies for m in t.members} | {g.file for t in self.typologies for g in t.golden}
        wanted |= {t.similar for t in self.typologies if t.similar is not None}
        if self.router is not None:
            wanted |= {self.router.member.file} | {g.file for g in self.router.golden}
        return wanted


def _check_file(name: str) -> None:
    # Names are only keys, but they are printed, and a careless tool might unpack them one day.
    clean = len(name) <= _MAX_FILE_NAME and _FILE_NAME.match(name) is not None
    _check(clean, "file name (letters, digits, . _ - in parts joined by /)", name[: 2 * _MAX_FILE_NAME])


def _check(condition: bool, what: str, seen: object) -> None:
    if not condition:
        raise BundleFormatError(f"manifest: {what} not usable", seen=seen, remedy="Export the bundle again with `cordon export`")
