import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import tiny

from edge.bundle import Bundle, open_bundle
from edge.engines import BuildOptions
from edge.engines.backend import Backend
from edge.engines.plan import build_bundle, jobs
from edge.engines.record import EngineRecord
from edge.engines.show import Lines
from edge.engines.store import EngineStore
from edge.errors import EngineError

NAMES = ["T2.T2-0.b1", "T5.T5-0.b1", "router.router.b1"]


class Outcomes(Lines):
    """Notes what became of every engine; may be interrupted before one."""

    def __init__(self, *, interrupt_before: int | None = None) -> None:
        super().__init__()
        self.seen: dict[str, str] = {}
        self.interrupt_before = interrupt_before

    def begin(self, name: str, index: int, count: int) -> None:
        super().begin(name, index, count)
        if index == self.interrupt_before:
            raise KeyboardInterrupt

    def end(self, name: str, outcome: str, record: EngineRecord) -> None:
        super().end(name, outcome, record)
        self.seen[name] = outcome


def bundle(folder: Path, name: str = "t.cordon", **fields: object) -> Bundle:
    return open_bundle(tiny.TinyBundle(**fields).save(folder / name), (tiny.PUBLIC,))  # type: ignore[arg-type]


def build(opened: Bundle, store: EngineStore, **settings: object) -> dict[str, str]:
    heard = Outcomes()
    build_bundle(opened, store, reporter=heard, backend="tensorrt_rtx", **settings)  # type: ignore[arg-type]
    return heard.seen


def everything(store: EngineStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.folder.iterdir() if path.is_file()}


def inodes(store: EngineStore) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in store.folder.iterdir()}


@pytest.fixture
def store(tmp_path: Path, rtx: Backend) -> EngineStore:
    assert rtx.targets
    return EngineStore(tmp_path / "engines")


def test_every_member_and_the_router_get_an_engine_with_its_record(tmp_path: Path, store: EngineStore, rtx: Backend) -> None:
    opened = bundle(tmp_path)
    assert build(opened, store) == dict.fromkeys(NAMES, "built")
    assert store.names() == tuple(NAMES)
    for name in NAMES:
        record = store.whole(name)
        assert record is not None
        assert (record.bundle, record.batch, record.box.version) == (opened.hash, 1, rtx.version)
        assert store.engine_path(record).read_bytes()[:4] == b"vtrt"
        assert record.targets[:2] == ("SM80", "SM86")
    assert [r.typology for name in NAMES if (r := store.record(name))] == ["T2", "T5", None]
    assert not store.waiting()
    assert len(list(store.folder.glob("*.engine"))) == len(NAMES)


def test_a_second_run_builds_nothing_and_changes_no_byte(tmp_path: Path, store: EngineStore) -> None:
    opened = bundle(tmp_path)
    build(opened, store)
    before, files = everything(store), inodes(store)
    assert build(opened, store) == dict.fromkeys(NAMES, "up to date")
    assert (everything(store), inodes(store)) == (before, files)


def test_other_options_build_again_and_so_does_force(tmp_path: Path, store: EngineStore) -> None:
    opened = bundle(tmp_path)
    build(opened, store)
    assert build(opened, store, options=BuildOptions(optimization_level=1)) == dict.fromkeys(NAMES, "built")
    assert build(opened, store, options=BuildOptions(optimization_level=1), force=True) == dict.fromkeys(NAMES, "built")


def test_a_new_bundle_builds_only_the_networks_that_changed(tmp_path: Path, store: EngineStore) -> None:
    build(bundle(tmp_path), store)
    changed = tiny.network(centre=61.0, sign=1.0)
    newer = bundle(tmp_path, "u.cordon", version=2, files={"T2-0.onnx": changed})
    assert build(newer, store) == dict(zip(NAMES, ["built", "up to date", "up to date"], strict=True))
    assert {record.bundle for name in NAMES if (record := store.whole(name))} == {newer.hash}


def test_damaged_engines_and_records_are_built_again(tmp_path: Path, store: EngineStore) -> None:
    opened = bundle(tmp_path)
    build(opened, store)
    record = store.whole(NAMES[0])
    assert record is not None
    data = bytearray(store.engine_path(record).read_bytes())
    data[-1] ^= 1
    store.engine_path(record).write_bytes(data)
    store.record_path(NAMES[1]).write_text("{")
    assert store.whole(NAMES[0]) is None
    assert build(opened, store) == dict(zip(NAMES, ["built", "built", "up to date"], strict=True))


def test_a_stopped_run_leaves_the_old_set_and_its_engines_are_taken_up(tmp_path: Path, store: EngineStore) -> None:
    opened = bundle(tmp_path)
    build(opened, store)
    before = everything(store)
    newer = BuildOptions(optimization_level=1)
    with pytest.raises(KeyboardInterrupt):
        build_bundle(opened, store, reporter=Outcomes(interrupt_before=3), backend="tensorrt_rtx", options=newer)
    after = everything(store)
    assert {name: after[name] for name in before} == before
    assert store.waiting() == tuple(NAMES[:2])
    assert store.names() == tuple(NAMES)
    assert build(opened, store, options=newer) == dict(zip(NAMES, ["built before", "built before", "built"], strict=True))
    assert not store.waiting()
    assert len(list(store.folder.glob("*.engine"))) == len(NAMES)
    assert build(opened, store, options=newer) == dict.fromkeys(NAMES, "up to date")


def test_one_builder_at_a_time_works_in_a_folder(tmp_path: Path, store: EngineStore) -> None:
    with store.locked(), pytest.raises(EngineError, match="another `cordon engine build` works"):
        build(bundle(tmp_path), store)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot use the folder"), EngineStore(tmp_path / "file" / "engines").locked():
        pass


def test_two_networks_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    opened = bundle(tmp_path)
    manifest = opened.manifest
    member = msgspec.structs.replace(manifest.typologies[0].members[0], name="router")
    first = msgspec.structs.replace(manifest.typologies[0], name="router", members=(member,))
    assert manifest.router is not None
    router = msgspec.structs.replace(manifest.router, member=msgspec.structs.replace(manifest.router.member, classes=("router", "T5")))
    twice = msgspec.structs.replace(manifest, typologies=(first, manifest.typologies[1]), router=router)
    with pytest.raises(EngineError, match=r"would share a file \(seen: router\.router\.b1\)"):
        jobs(msgspec.structs.replace(opened, manifest=twice), (1,))


DIES = """
import os, signal, sys
from pathlib import Path
from edge.engines.files import write_whole
real = os.fsync
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
write_whole(Path(sys.argv[1]), b"new" * 1000)
"""


def test_a_writer_killed_before_its_bytes_are_on_the_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", DIES, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_a_whole_engine_of_every_name(tmp_path: Path, store: EngineStore) -> None:
    opened = bundle(tmp_path)
    build(opened, store)
    command = [sys.executable, "-m", "edge", "engine", "build", str(tmp_path / "t.cordon"), "--key", tiny.PUBLIC, "--out"]
    command += [str(store.folder), "--backend", "tensorrt_rtx", "--force"]
    for delay_s in (0.0, 0.03, 0.08, 0.15):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay_s)
            os.kill(process.pid, signal.SIGKILL)
        assert all(store.whole(name) for name in NAMES)
    assert set(build(opened, store).values()) <= {"up to date", "built before", "built"}
    assert all(store.whole(name) for name in NAMES)
