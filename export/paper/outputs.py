"""Where an export goes, and the check that nothing is overwritten by mistake."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.errors import ExportError


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where an export goes."""

    bundle: Path

    @property
    def json(self) -> Path:
        """Certificate and measurements."""
        return self.bundle.with_suffix(".certificate.json")

    @property
    def html(self) -> Path:
        """The same as a page with plots."""
        return self.bundle.with_suffix(".certificate.html")


def require_free(path: Path, *, force: bool) -> Outputs:
    """Raises ExportError when there is no folder for `path`, or a bundle is there already and `force` is not given."""
    if not path.resolve().parent.is_dir():
        raise ExportError("there is no folder for the bundle", seen=path, remedy="Choose a folder that exists")
    if path.is_dir() or (path.exists() and not force):
        remedy = "Choose another name, or give --force to replace it once the new one has proved itself"
        raise ExportError("there is a bundle already", seen=path, remedy=remedy)
    return Outputs(bundle=path)
