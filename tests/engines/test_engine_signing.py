from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import signed_kit as kit
import tiny

from edge.bundle import open_bundle
from edge.cli import main
from edge.commands import new_key
from edge.engines.backend import Backend
from edge.engines.record import BoxFacts, EngineRecord
from edge.engines.signing import require_signature, sign, signature_fits, unsigned
from edge.engines.store import EngineStore

NAMES = ("T2.T2-0.b1", "T5.T5-0.b1")


class Box:
    """A box with a bundle, its own key and a folder of engines."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.folder, self.backend = folder, backend
        self.line = tiny.TinyBundle(router=False).save(folder / "t.cordon")
        self.public = new_key(folder / "box.key")
        self.store = EngineStore(folder / "e")

    def build(self, *words: str, line: Path | None = None) -> int:
        where = [str(line or self.line), "--key", tiny.PUBLIC, "--out", str(self.store.folder), "--backend", self.backend]
        return main(["engine", "build", *where, *words])

    def sign(self, *words: str, key: str = "box.key", line: Path | None = None) -> int:
        return self.build("--box-key", str(self.folder / key), *words, line=line)

    def engines(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.store.folder.glob("*.engine")}


@pytest.fixture
def box(tmp_path: Path, rtx: Backend, capsys: pytest.CaptureFixture[str]) -> Box:
    made = Box(tmp_path, rtx.name)
    assert made.sign() == 0
    capsys.readouterr()
    return made


def test_an_engine_built_with_the_box_s_key_opens_with_it(box: Box, rtx: Backend) -> None:
    line = open_bundle(box.line, (tiny.PUBLIC,))
    facts = BoxFacts(backend=rtx.name, version=rtx.version)
    engine = kit.opened_as(box.store, line, box=facts, keys=(box.public,))
    assert engine.data[:4] == b"vtrt"
    assert engine.record.signed_by == box.public
    assert kit.opened_as(box.store, line, box=facts, keys=(box.public,), compute_capability=(8, 9)).data == engine.data


def test_building_unsigned_says_that_it_will_be_refused_and_how_to_sign(
    tmp_path: Path, rtx: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    box = Box(tmp_path, rtx.name)
    assert box.build() == 0
    built = box.engines()
    said = capsys.readouterr().out
    assert "s, unsigned\n" in said
    assert "2 of 2 engines are unsigned and the inspector will refuse them. Sign it" in said
    assert "--box-key" in said
    assert box.sign() == 0
    said = capsys.readouterr().out
    assert said.count(": up to date, ") == 2
    assert f'2 engines signed and opened as the inspector will; it needs inspector.gpu.box_keys = ["{box.public}"]' in said
    assert box.engines() == built


def test_another_key_signs_again_and_builds_nothing(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    built, other = box.engines(), new_key(box.folder / "other.key")
    assert box.sign(key="other.key") == 0
    assert capsys.readouterr().out.count(": up to date, ") == 2
    assert box.engines() == built
    for name in NAMES:
        record = box.store.whole(name)
        assert record is not None
        require_signature(record, (other,))


def test_a_new_bundle_with_the_same_networks_signs_again_and_builds_nothing(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    built, before = box.engines(), box.store.record(NAMES[0])
    newer = tiny.TinyBundle(router=False, version=2).save(box.folder / "u.cordon")
    assert box.sign(line=newer) == 0
    assert capsys.readouterr().out.count(": up to date, ") == 2
    after = box.store.record(NAMES[0])
    assert before is not None
    assert after is not None
    assert after.bundle != before.bundle
    assert signature_fits(after)
    assert box.engines() == built


def test_a_run_without_the_key_keeps_a_signature_only_while_it_fits(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    before = box.store.record(NAMES[0])
    assert box.build() == 0
    assert "unsigned" not in capsys.readouterr().out
    assert box.store.record(NAMES[0]) == before
    newer = tiny.TinyBundle(router=False, version=2).save(box.folder / "u.cordon")
    assert box.build(line=newer) == 0
    assert "2 of 2 engines are unsigned" in capsys.readouterr().out
    after = box.store.record(NAMES[0])
    assert after is not None
    assert (after.signed_by, after.signature) == ("", "")


def test_a_list_tells_who_signed_what(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    record = box.store.record(NAMES[1])
    assert record is not None
    box.store.put_record(unsigned(record))
    assert main(["engine", "list", str(box.store.folder)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert f", signed by {box.public[:12]}, bundle " in first
    assert ", unsigned, bundle " in second
    path = box.store.record_path(NAMES[0])
    path.write_text(path.read_text().replace('"layers": ', '"layers": 1'))
    assert main(["engine", "list", str(box.store.folder)]) == 0
    assert ", altered after signing, " in capsys.readouterr().out.splitlines()[0]


def test_a_list_tells_what_others_can_write(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    box.store.record_path(NAMES[0]).chmod(0o664)
    assert main(["engine", "list", str(box.store.folder)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("may not be used: others than root and this account can write it")
    assert "may not be used" not in second


def test_nothing_is_signed_that_others_may_have_put_there(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    record = box.store.record(NAMES[0])
    assert record is not None
    box.store.engine_path(record).chmod(0o664)
    assert box.sign() == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert ": built, " in first
    assert ": up to date, " in second


def test_a_folder_that_others_write_to_is_refused_before_anything_is_built(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    box.store.folder.chmod(0o775)
    assert box.sign("--force") == 1
    captured = capsys.readouterr()
    assert "can be written by others" in captured.err
    assert captured.out == ""


def test_what_was_built_is_opened_before_the_command_says_so(
    box: Box, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = EngineStore.publish

    def on_a_failing_disk(store: EngineStore, records: Sequence[EngineRecord]) -> None:
        real(store, records)
        store.engine_path(records[1]).write_bytes(bytes(records[1].engine_bytes))

    monkeypatch.setattr(EngineStore, "publish", on_a_failing_disk)
    assert box.sign() == 1
    captured = capsys.readouterr()
    assert "engine T5.T5-0.b1 was altered or damaged" in captured.err
    assert "signed and opened" not in captured.out


def test_what_others_may_have_staged_is_not_signed_either(
    tmp_path: Path, rtx: Backend, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path, rtx.name)
    with monkeypatch.context() as stopped:
        stopped.setattr(EngineStore, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert box.sign() == 130
    assert (box.store.waiting(), box.store.names()) == (NAMES, ())
    (box.store.folder / ".staged" / f"{NAMES[0]}.json").chmod(0o664)
    capsys.readouterr()
    assert box.sign() == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert ": built, " in first
    assert ": built before, " in second


def test_a_key_that_others_may_read_signs_nothing(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    (box.folder / "box.key").chmod(0o640)
    assert box.sign() == 1
    assert "others may read the box key" in capsys.readouterr().err
    (box.folder / "box.key").unlink()
    assert box.sign() == 1
    assert "cannot read the box key" in capsys.readouterr().err


def test_a_signature_over_something_else_is_none_over_a_record(tmp_path: Path) -> None:
    signed = sign(kit.record(kit.bundle(tmp_path)), kit.KEY)
    assert signature_fits(signed)
    assert sign(signed, kit.KEY) == signed
    text = msgspec.json.encode(msgspec.structs.replace(signed, signature=""), order="deterministic")
    assert not signature_fits(msgspec.structs.replace(signed, signature=kit.KEY.sign(text).hex()))
