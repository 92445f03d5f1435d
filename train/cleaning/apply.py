"""Carrying a cleaning step out and back again: nothing is deleted, and a crash at any point is finished or taken back."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from msgspec.structs import replace

from edge.errors import DatasetError
from edge.gate.latch import replace_durably, sync_folder
from train.cleaning.decisions import plan_step, read_review
from train.cleaning.journal import (
    Step,
    interrupted,
    make_folder,
    only_me,
    read_steps,
    sha256_of,
    table_copy,
    write_step,
)

LOOK = "Put the files back where the journal in cleaning/ says they were, or restore them, and give the command again"


def apply_review(root: Path, review: Path, *, by: str | None = None, table: Path | None = None) -> Step | None:
    """Move files and change groups as `review` decides; None when it decides nothing. An interrupted step is settled first,
    and a review that the last step applied is not applied again.

    Everything is checked before the first file moves, and the journal is on the disk by then. Raises DatasetError.
    """
    decisions = read_review(review)
    with only_me(root):
        _settle(root)
        steps = read_steps(root)
        if steps and steps[-1].state == "applied" and steps[-1].review_sha256 == sha256_of(review):
            return steps[-1]
        if not decisions:
            return None
        number = max((step.number for step in steps), default=0) + 1
        draft = Step(
            number=number,
            state="applying",
            by=by or _user(),
            when=_now(),
            review=str(review.resolve()),
            review_sha256=sha256_of(review),
            notes=(),
            moves=(),
        )
        step, content = plan_step(root, decisions, table=table, draft=draft)
        with _stopped_in_the_middle(root, step):
            _keep_tables(root, step, content)
            write_step(root, step)
        return _forward(root, step)


def finish_interrupted(root: Path) -> Step | None:
    """Bring a step that a crash interrupted to its end, forwards or backwards as it was going; None when there is none."""
    with only_me(root):
        return _settle(root)


def undo_step(root: Path, number: int | None = None, *, by: str | None = None) -> Step:
    """Put everything back as it was before step `number` (default: the last one that is not undone), byte for byte.

    A half-applied step is taken back, a half-undone one finished. Raises DatasetError when files changed since.
    """
    with only_me(root):
        steps = read_steps(root)
        step = interrupted(steps) or _chosen(root, steps, number)
        if number is not None and step.number != number:
            raise DatasetError(f"step {step.number} was interrupted", seen=f"--step {number}", remedy="Undo or finish that one first")
        if step.state == "applied":
            _require_untouched(root, step)
        if step.state != "undoing":
            step = replace(step, state="undoing", undone_by=by or _user(), undone_when=_now())
            with _stopped_in_the_middle(root, step):
                write_step(root, step)
        return _backward(root, step)


def _settle(root: Path) -> Step | None:
    step = interrupted(read_steps(root))
    if step is None:
        return None
    return _forward(root, step) if step.state == "applying" else _backward(root, step)


def _forward(root: Path, step: Step) -> Step:
    _require_movable(root, [(move.file, move.to, move.sha256) for move in step.moves])
    _require_known_table(root, step)
    with _stopped_in_the_middle(root, step):
        _move(root, [(move.file, move.to) for move in step.moves])
        if step.table is not None:
            _put_table(root, step, table_copy(root, step.number, "after"))
        done = replace(step, state="applied")
        write_step(root, done)
    return done


def _backward(root: Path, step: Step) -> Step:
    _require_movable(root, [(move.to, move.file, move.sha256) for move in step.moves])
    _require_known_table(root, step)
    with _stopped_in_the_middle(root, step):
        _move(root, [(move.to, move.file) for move in reversed(step.moves)])
        if step.table is not None:
            _put_table(root, step, None if step.table.before is None else table_copy(root, step.number, "before"))
        for folder in reversed(step.folders):
            with suppress(OSError):  # somebody put something in: then it stays
                (root / folder).rmdir()
        done = replace(step, state="undone")
        write_step(root, done)
    return done


def _move(root: Path, places: Iterable[tuple[str, str]]) -> None:
    """Rename what is not yet where it should be, and make the names durable. Raises OSError."""
    touched = set()
    for file, to in places:
        source, target = root / file, root / to
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
        touched |= {source.parent, target.parent}
    for folder in sorted(touched):
        if folder.is_dir():
            sync_folder(folder)


def _put_table(root: Path, step: Step, content: Path | None) -> None:
    """Make the table hold a kept copy, or be gone where there was none before the step. Raises OSError."""
    assert step.table is not None
    path = root / step.table.path
    if content is not None:
        replace_durably(path, content.read_bytes())
        return
    path.unlink(missing_ok=True)  # its content stays beside the journal
    path.with_name(path.name + ".partial").unlink(missing_ok=True)
    sync_folder(path.parent)


def _keep_tables(root: Path, step: Step, content: bytes | None) -> None:
    if step.table is None or content is None:
        return
    make_folder(root)
    replace_durably(table_copy(root, step.number, "after"), content)
    if step.table.before is not None:
        replace_durably(table_copy(root, step.number, "before"), (root / step.table.path).read_bytes())


def _require_movable(root: Path, moves: list[tuple[str, str, str]]) -> None:
    """Every file lies, unchanged, at one of its two places and nothing lies at the other. Raises DatasetError."""
    for file, to, digest in moves:
        here = [name for name in (file, to) if (root / name).exists()]
        if len(here) != 1:
            what = "a scan is gone" if not here else "two files claim one scan's places"
            raise DatasetError(f"{what}: nothing was touched", seen=f"{file}, {to}", remedy=LOOK)
        if sha256_of(root / here[0]) != digest:
            raise DatasetError("a scan has changed since it was moved: nothing was touched", seen=here[0], remedy=LOOK)


def _require_known_table(root: Path, step: Step) -> None:
    """The table is the one from before or after the step, not one that somebody edited in between. Raises DatasetError."""
    if step.table is None:
        return
    path = root / step.table.path
    if (sha256_of(path) if path.exists() else None) not in (step.table.before, step.table.after):
        raise DatasetError(
            f"{path} was changed by somebody else in step {step.number}: nothing was touched",
            remedy=f"Save it elsewhere and restore {table_copy(root, step.number, 'after')}, then give the command again",
        )


def _require_untouched(root: Path, step: Step) -> None:
    """An applied step's files and table are as it left them. Raises DatasetError."""
    for move in step.moves:
        if not (root / move.to).exists():
            raise DatasetError(f"step {step.number} cannot be undone: a file is not where it was put", seen=move.to, remedy=LOOK)
    if step.table is None:
        return
    path = root / step.table.path
    if not path.exists() or sha256_of(path) != step.table.after:
        raise DatasetError(
            f"step {step.number} cannot be undone: {path} has changed since",
            seen="other content" if path.exists() else "no file",
            remedy="Undo later steps first; if it was edited by hand, save that elsewhere and restore "
            f"{table_copy(root, step.number, 'after')}",
        )


def _chosen(root: Path, steps: list[Step], number: int | None) -> Step:
    applied = [step for step in steps if step.state == "applied" and number in (None, step.number)]
    if not applied:
        known = ", ".join(f"{step.number} {step.state}" for step in steps) or "no steps"
        raise DatasetError(f"{root} has no such cleaning step to undo", seen=number or known, remedy="See `cordon train clean log FOLDER`")
    return applied[-1]


@contextmanager
def _stopped_in_the_middle(root: Path, step: Step) -> Iterator[None]:
    """Says of an OSError what state the folder is in."""
    try:
        yield
    except OSError as exc:
        raise DatasetError(
            f"cleaning step {step.number} of {root} stopped in the middle",
            seen=exc,
            remedy="Correct the cause, then `cordon train clean apply FOLDER` finishes it or `... undo FOLDER` takes it back",
        ) from exc


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
