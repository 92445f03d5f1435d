from pathlib import Path

import pytest
from records_kit import descriptors, durable_steps

from edge.errors import StorageError
from edge.gate.latch import MAX_BYTES, Acknowledgement, Latch, replace_durably, sync_folder


def test_a_reason_is_durable_with_its_name_before_set_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = durable_steps(monkeypatch)
    assert Latch(tmp_path / "r.db").set("noise") == "noise"
    assert steps == ["sync r.db.latched 6", f"sync {tmp_path.name}"]
    assert Latch(tmp_path / "r.db").set("lies") == "lies"
    assert (tmp_path / "r.db.latched").read_bytes() == b"noise\nlies\n"


def test_a_reason_is_one_line_of_at_most_500_characters(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "r.db")
    assert latch.set("a\nü") == "a\\n\\xfc"
    assert latch.set("x" * 501) == "x" * 500
    assert latch.reasons() == ["a\\n\\xfc", "x" * 500]


def test_the_file_of_reasons_is_bounded_and_the_first_ones_stay(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "r.db")
    assert MAX_BYTES == 65_536
    latch.path.write_bytes(b"x" * (MAX_BYTES - 6) + b"\n")
    assert latch.set("12345") == "12345"
    assert latch.path.stat().st_size == MAX_BYTES - 5
    assert latch.set("1234") == "1234"
    assert latch.path.stat().st_size == MAX_BYTES
    assert latch.set("") == ""
    assert latch.path.stat().st_size == MAX_BYTES


def test_a_latch_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        Latch(tmp_path / "none" / "r.db").set("why")


def test_no_file_is_no_latch_and_any_other_file_is_one(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "r.db")
    assert latch.reasons() == []
    latch.path.write_bytes(b"")
    assert latch.reasons() == ["latched without a reason"]
    latch.path.write_bytes(b"a\xff\nb\n")
    assert latch.reasons() == ["a\ufffd", "b"]
    latch.path.unlink()
    latch.path.mkdir()
    (reason,) = latch.reasons()
    assert "cannot be read" in reason


def test_the_note_is_durable_before_the_latch_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latch = Latch(tmp_path / "r.db")
    latch.set("noise")
    steps, folder = durable_steps(monkeypatch), tmp_path.name
    assert latch.acknowledge("uid 7") == ["noise"]
    assert latch.note_path.read_bytes() == b'["uid 7",["noise"]]'
    note = ["sync r.db.acknowledged.partial 19", "rename r.db.acknowledged.partial r.db.acknowledged", f"sync {folder}"]
    assert steps == [*note, "remove r.db.latched", f"sync {folder}"]
    assert latch.acknowledged() == Acknowledgement("uid 7", ("noise",))
    latch.forget_note()
    latch.forget_note()
    assert latch.acknowledged() is None


def test_somebody_else_may_have_removed_the_latch_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latch = Latch(tmp_path / "r.db")
    monkeypatch.setattr(latch, "reasons", lambda: ["noise"])
    assert latch.acknowledge("uid 7") == ["noise"]


def test_nothing_is_noted_when_there_is_no_latch(tmp_path: Path) -> None:
    assert Latch(tmp_path / "r.db").acknowledge("uid 7") == []
    assert list(tmp_path.iterdir()) == []


def test_a_latch_whose_note_cannot_be_written_stays(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "r.db")
    latch.set("noise")
    latch.note_path.mkdir()
    with pytest.raises(StorageError, match="cannot be removed"):
        latch.acknowledge("uid 7")
    assert latch.reasons() == ["noise"]
    assert latch.acknowledged() is None


def test_a_note_nobody_understands_names_nobody(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "r.db")
    latch.note_path.write_bytes(b"{}")
    assert latch.acknowledged() is None


def test_a_folder_is_synced_and_nothing_else_and_nothing_stays_open(tmp_path: Path) -> None:
    before = descriptors()
    sync_folder(tmp_path)
    replace_durably(tmp_path / "file", b"all of it")
    assert descriptors() == before
    assert (tmp_path / "file").read_bytes() == b"all of it"
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")
