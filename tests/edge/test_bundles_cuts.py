"""The power goes before any call that changes the store for good: the old bundle is active or the new one, and the next command goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cut_kit
import pytest
from bundles_kit import activate, agree, inspector_config, install, made, opened, store_in

from edge.bundles.folder import PART
from edge.bundles.opening import open_configured
from edge.bundles.store import Store
from edge.errors import BundleError, StoreError

CHANGING = [(os, name) for name in ("fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "symlink", "link", "fchmod", "chmod")]


def cuts(folder: Path, begin: Callable[[Store], object], act: Callable[[Store], object], least: int) -> Iterator[Store]:
    """For every step of `act`: a store in which it was cut off there; ends when a run comes through."""

    def begun(step: int) -> Store:
        store = store_in(folder / str(step))
        begin(store)
        return store

    return cut_kit.cuts(begun, act, CHANGING, least=least)


def active(store: Store) -> str:
    """What the inspector would start with, "" for nothing."""
    try:
        return open_configured(inspector_config(store)).hash
    except BundleError as exc:
        if any(words in str(exc) for words in ("no bundle is active", "is missing", "cannot open")):
            return ""
        raise


def leftovers(store: Store) -> list[str]:
    return [name for _, folders, names in os.walk(store.folder) for name in (*folders, *names) if name.startswith(PART)]


def two(store: Store) -> None:
    activate(store, made(1))
    activate(store, made(2))


def test_a_first_install_cut_off_anywhere_is_done_by_the_next(tmp_path: Path) -> None:
    for store in cuts(tmp_path, lambda _: None, lambda store: install(store, made(1)), 12):
        assert active(store) == ""
        assert install(store, made(1)) == opened(1).hash
        assert (store.installed(), leftovers(store)) == ((opened(1).hash,), [])


def test_an_install_cut_off_anywhere_leaves_the_active_one(tmp_path: Path) -> None:
    for store in cuts(tmp_path, two, lambda store: install(store, made(3)), 8):
        assert active(store) == opened(2).hash
        assert activate(store, made(3)) == active(store) == opened(3).hash
        assert (len(store.installed()), leftovers(store)) == (3, [])


def test_a_switch_cut_off_anywhere_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    def begin(store: Store) -> None:
        two(store)
        install(store, made(3))

    met = set()
    for store in cuts(tmp_path, begin, lambda store: store.activate(opened(3).hash, agree(store)), 3):
        state, now = store.state(), active(store)
        met.add(now)
        newest = 3 if now == opened(3).hash else 2
        assert (state.highest, state.floor, state.previous) == (newest, newest - 1, opened(newest - 1).hash)
        with pytest.raises(BundleError):
            install(store, made(1, note="older"))
        store.activate(opened(3).hash, agree(store))
        assert (active(store), leftovers(store)) == (opened(3).hash, [])
    assert met == {opened(2).hash, opened(3).hash}


def test_what_is_renamed_was_flushed_before_and_its_folder_after(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    two(store)
    with cut_kit.cut_before(10**6, CHANGING) as done:
        install(store, made(3))
    whole = ["unlink", "fchmod", "fsync", "rename", "fsync"]  # the first finds nothing
    assert done == ["mkdir", "mkdir", "fchmod", "fsync", "fsync", "rename", "fsync", *whole]  # the first finds its folder there
    with cut_kit.cut_before(10**6, CHANGING) as done:
        store.activate(opened(3).hash, agree(store))
    assert done == ["mkdir", *whole]


def test_a_rollback_cut_off_anywhere_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    met = set()
    for store in cuts(tmp_path, two, lambda store: store.rollback(agree(store), reason="test"), 3):
        met.add(now := active(store))
        assert store.state().highest == 2
        if now == opened(2).hash:
            store.rollback(agree(store), reason="again")
        assert (active(store), store.state().previous) == (opened(1).hash, "")
    assert met == {opened(1).hash, opened(2).hash}


def test_a_removal_cut_off_anywhere_harms_nothing(tmp_path: Path) -> None:
    def begin(store: Store) -> None:
        two(store)
        activate(store, made(3))

    for store in cuts(tmp_path, begin, lambda store: store.remove(opened(1).hash), 6):
        assert active(store) == opened(3).hash
        install(store, made(3))
        assert leftovers(store) == []
        assert set(store.installed()) >= {opened(2).hash, opened(3).hash}


def test_a_clean_up_cut_off_anywhere_is_done_by_the_next(tmp_path: Path) -> None:
    def begin(store: Store) -> None:
        two(store)
        part = store.folder / "versions" / f"{PART}x"
        (part / "deep").mkdir(parents=True)
        (part / "file").write_bytes(b"half")
        (part / "deep" / "link").symlink_to("/etc")
        (store.folder / f"{PART}state.json").write_bytes(b"half")

    for store in cuts(tmp_path, begin, lambda store: install(store, made(2)), 6):
        assert active(store) == opened(2).hash
        install(store, made(2))
        assert leftovers(store) == []
    assert Path("/etc").is_dir()


@pytest.mark.parametrize("number", range(0, 8, 2))
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_refuses_is_told_and_leaves_the_active_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    store = store_in(tmp_path / "bundles")
    two(store)
    left = [number]
    kept = getattr(os, call)

    def full(*arguments: Any, **more: Any) -> Any:
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        return kept(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        try:
            install(store, made(3))
        except StoreError as exc:
            assert "No space left" in str(exc)  # noqa: PT017 - late calls find nothing to refuse
    assert active(store) == opened(2).hash
    assert activate(store, made(3)) == opened(3).hash
    assert leftovers(store) == []
