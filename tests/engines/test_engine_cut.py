from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import signed_kit as kit

from edge.bundle import Bundle
from edge.engines.record import EngineRecord
from edge.engines.signing import sign
from edge.engines.store import EngineStore

STEPS = ("replace", "unlink")


class PowerCut(BaseException):
    """Nothing of the process runs after it, so it is no Exception that anything may catch and tidy up after."""


class Supply:
    """Counts every rename and unlink, and cuts the power at one of them, before it is done or after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps, self.cut_at, self.done = 0, -1, False
        for name in STEPS:
            monkeypatch.setattr(Path, name, self._counted(getattr(Path, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(path: Path, *words: Any, **more: Any) -> Any:
            self.steps += 1
            if self.steps != self.cut_at:
                return real(path, *words, **more)
            if self.done:
                real(path, *words, **more)
            raise PowerCut

        return step

    def run(self, work: Callable[[], None], *, cut_at: int = -1, done: bool = False) -> int:
        """Steps that `work` took; the power may be cut at one of them."""
        self.steps, self.cut_at, self.done = 0, cut_at, done
        try:
            work()
        except PowerCut:
            pass
        finally:
            self.cut_at = -1
        return self.steps


def engines(line: Bundle, age: str) -> dict[EngineRecord, bytes]:
    data = {typology: f"{age} engine of {typology}".encode() for typology in ("T2", "T5", None)}
    return {sign(kit.record(line, typology, data=made), kit.KEY): made for typology, made in data.items()}


def build(store: EngineStore, wanted: dict[EngineRecord, bytes]) -> None:
    """What `cordon engine build` does with the disk."""
    with store.locked():
        for record, data in wanted.items():
            if record not in (store.whole(record.name), store.staged(record.name)):
                store.stage(record, data)
        store.publish(list(wanted))


def in_use(store: EngineStore, line: Bundle) -> list[bytes]:
    return [kit.opened_as(store, line, typology).data for typology in ("T2", "T5", None)]


@pytest.mark.parametrize("done", [False, True])
def test_wherever_the_power_is_cut_every_engine_stays_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: bool) -> None:
    line, supply = kit.bundle(tmp_path), Supply(monkeypatch)
    old, new = engines(line, "old"), engines(line, "new")
    build(EngineStore(tmp_path / "whole"), old)
    steps = supply.run(lambda: build(EngineStore(tmp_path / "whole"), new))
    assert steps > 15
    for cut_at in range(1, steps + 1):
        store = EngineStore(tmp_path / str(cut_at))
        build(store, old)
        assert supply.run(lambda store=store: build(store, new), cut_at=cut_at, done=done) == cut_at
        for before, after, now in zip(old.values(), new.values(), in_use(store, line), strict=True):
            assert now in (before, after)
        assert len(store.names()) == 3
        assert all(store.whole(name) for name in store.names())
        build(store, new)
        assert in_use(store, line) == list(new.values())
        left = sorted(path.name for path in store.folder.iterdir())
        assert left == sorted([".lock", ".staged", *(r.file for r in new), *(f"{r.name}.json" for r in new)])
        assert not list((store.folder / ".staged").iterdir())


def test_what_was_finished_before_the_cut_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line, supply = kit.bundle(tmp_path), Supply(monkeypatch)
    old, new = engines(line, "old"), engines(line, "new")
    stages = supply.run(lambda: [EngineStore(tmp_path / "a").stage(record, data) for record, data in new.items()] and None)
    whole = supply.run(lambda: build(EngineStore(tmp_path / "b"), new))
    for cut_at in range(stages + 1, whole + 1):
        store = EngineStore(tmp_path / str(cut_at))
        build(store, old)
        supply.run(lambda store=store: build(store, new), cut_at=cut_at)
        assert all(record in (store.whole(record.name), store.staged(record.name)) for record in new)


def test_an_engine_that_nothing_names_is_listed_and_goes_with_the_next_build(tmp_path: Path) -> None:
    line, store = kit.bundle(tmp_path), EngineStore(tmp_path / "e")
    new = engines(line, "new")
    build(store, new)
    store.record_path("T5.T5-0.b1").unlink()
    (store.folder / "T9.T9-0.b1.engine").write_bytes(b"of a release that named no digest")
    (store.folder / ".T2.T2-0.b1.0123456789ab.engine.part").write_bytes(b"of a build that was killed")
    (store.folder / "notes.engine").write_bytes(b"of somebody else")
    assert store.names() == ("T2.T2-0.b1", "T5.T5-0.b1", "T9.T9-0.b1", "router.router.b1")
    build(store, new)
    assert store.names() == ("T2.T2-0.b1", "T5.T5-0.b1", "router.router.b1")
    assert (store.folder / "notes.engine").exists()
    assert not list(store.folder.glob(".*.part"))


def test_a_record_under_another_s_name_is_not_whole(tmp_path: Path) -> None:
    store = EngineStore(tmp_path / "e")
    build(store, engines(kit.bundle(tmp_path), "new"))
    store.record_path("T2.T2-0.b1").write_bytes(store.record_path("T5.T5-0.b1").read_bytes())
    assert store.whole("T2.T2-0.b1") is None
    assert store.whole("T5.T5-0.b1") is not None
