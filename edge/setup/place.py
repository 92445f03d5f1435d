"""Where the configuration goes: written beside, checked, then linked into place, so that none that is there is ever lost."""

from __future__ import annotations

import contextlib
import enum
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from edge.demonstration import is_demonstration
from edge.errors import ConfigError
from edge.toml import parse_toml

MODE = 0o644
ASIDE = "simulators"
MOST_ASIDE = 1_000


class Standing(enum.Enum):
    """What is in the place now."""

    NOTHING = "nothing"
    SIMULATORS = "the simulators' configuration"
    CELL = "a configuration that is none of the simulators'"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One configuration file in a folder that only its owner writes."""

    config: Path

    def standing(self) -> Standing:
        """What is there; whatever cannot be read as the simulators' counts as somebody's own."""
        if not os.path.lexists(self.config):
            return Standing.NOTHING
        with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
            if is_demonstration(parse_toml(self.config.read_bytes())["inspector"]["trusted_keys"]):
                return Standing.SIMULATORS
        return Standing.CELL

    def occupied(self) -> ConfigError:
        """Why nothing is written."""
        remedy = f"Nothing was changed. Edit it, or move it away first: mv {self.config} {self.config}.old"
        return ConfigError(f"there is a configuration already: {self.config}", remedy=remedy)

    def require_free(self) -> None:
        """Raises ConfigError where somebody's own configuration is, or where this account, or another one too, may write."""
        if self.standing() is Standing.CELL:
            raise self.occupied()
        folder = self.config.parent
        if not os.access(folder, os.W_OK):
            raise self._unwritable(None)
        status = folder.stat()
        if os.geteuid() == 0 and (status.st_uid != 0 or status.st_mode & stat.S_IWOTH):
            remedy = f"Only root may write there: chown root {folder}; chmod o-w {folder}"
            raise ConfigError(f"others could replace {self.config}", seen=stat.filemode(status.st_mode), remedy=remedy)

    def _unwritable(self, why: str | None) -> ConfigError:
        return ConfigError(f"cannot write into {self.config.parent}", seen=why, remedy="Run it as root: sudo cordon setup")

    def draft(self, text: str) -> Path:
        """`text` in a file beside, for everybody to read: it holds no secret. Raises ConfigError."""
        draft = self.config.with_name(f".{self.config.name}.setup")
        try:
            draft.unlink(missing_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchown(handle, -1, self.config.parent.stat().st_gid)
                os.fchmod(handle, MODE)
                file.write(text)
                file.flush()
                os.fsync(handle)
        except OSError as exc:
            raise self._unwritable(exc.strerror) from exc
        return draft

    def settle(self, draft: Path) -> Path | None:
        """Put `draft` in place; the simulators' configuration is kept beside it, under the name returned. Raises ConfigError."""
        standing = self.standing()
        try:
            if standing is Standing.NOTHING:
                os.link(draft, self.config)  # refuses when somebody wrote one meanwhile
                aside = None
            elif standing is Standing.SIMULATORS:
                aside = self._linked_aside()
                draft.replace(self.config)
            else:
                raise self.occupied()
            folder = os.open(self.config.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FileExistsError as exc:
            raise self.occupied() from exc
        return aside

    def _linked_aside(self) -> Path:
        for number in range(1, MOST_ASIDE):
            aside = self.config.with_name(f"{self.config.name}.{ASIDE}" + (f".{number}" if number > 1 else ""))
            with contextlib.suppress(FileExistsError):
                os.link(self.config, aside)
                return aside
        raise ConfigError("too many simulators' configurations are kept", seen=MOST_ASIDE, remedy=f"Delete {self.config}.{ASIDE}.*")
