import os
import re
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
import signed_kit as kit
import tiny

from edge.bundle import Bundle
from edge.engines import files, trust
from edge.engines.record import BoxFacts, BuildOptions, EngineRecord
from edge.engines.store import EngineStore
from edge.errors import EngineError

DATA = b"engine of T2"


@pytest.fixture
def line(tmp_path: Path) -> Bundle:
    return kit.bundle(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


def refused(store: EngineStore, line: Bundle, message: str, **asked: Any) -> None:
    with pytest.raises(EngineError, match=message):
        kit.opened_as(store, line, **asked)


def test_an_engine_signed_here_for_what_is_here_is_opened(store: EngineStore, line: Bundle) -> None:
    made = kit.put(store, kit.record(line))
    engine = kit.opened_as(store, line)
    assert (engine.data, engine.record) == (DATA, made)
    assert "engine of T2" not in repr(engine)


def test_the_router_s_engine_has_no_typology(store: EngineStore, line: Bundle) -> None:
    kit.put(store, kit.record(line, None))
    assert kit.opened_as(store, line, None).record.name == "router.router.b1"


def test_a_new_bundle_with_the_same_networks_opens_the_engines_it_has(store: EngineStore, line: Bundle, tmp_path: Path) -> None:
    kit.put(store, kit.record(line))
    newer = kit.bundle(tmp_path, "u.cordon", version=2)
    assert newer.hash != line.hash
    assert kit.opened_as(store, newer).data == DATA


def test_a_bundle_with_another_network_of_that_name_does_not(store: EngineStore, line: Bundle, tmp_path: Path) -> None:
    kit.put(store, kit.record(line))
    changed = kit.bundle(tmp_path, "u.cordon", version=2, files={"T2-0.onnx": tiny.network(centre=61.0, sign=1.0)})
    refused(store, changed, r"of another network: its ONNX file's SHA-256 differs .*cordon engine build")


@pytest.mark.parametrize("byte", range(len(DATA)))
def test_one_altered_bit_of_the_engine_is_found(store: EngineStore, line: Bundle, byte: int) -> None:
    made = kit.put(store, kit.record(line))
    data = bytearray(DATA)
    data[byte] ^= 1
    store.engine_path(made).write_bytes(data)
    refused(store, line, "was altered or damaged after it was signed")


@pytest.mark.parametrize(
    ("data", "message"), [(DATA[:-1], "altered or damaged"), (b"", "altered or damaged"), (DATA + b"\0", "is too large")]
)
def test_a_longer_or_shorter_engine_is_found(store: EngineStore, line: Bundle, data: bytes, message: str) -> None:
    store.engine_path(kit.put(store, kit.record(line))).write_bytes(data)
    refused(store, line, message)


OTHERWISE: dict[str, Any] = {
    "name": "T2.T2-0.b1x",
    "bundle": "0" * 64,
    "typology": "T5",
    "member": "T2-1",
    "batch": 2,
    "onnx_sha256": "0" * 64,
    "engine_sha256": "0" * 64,
    "engine_bytes": 11,
    "box": msgspec.structs.replace(kit.ORIN, version="10.3.1"),
    "options": BuildOptions(workspace_mib=17),
    "layers": 10,
    "seconds": 0.25,
    "warnings": ("all is well",),
    "shape": (16, 25),
    "targets": ("SM89",),
}


def test_every_field_of_a_record_is_signed(store: EngineStore, line: Bundle) -> None:
    signed = kit.put(store, kit.record(line))
    assert {*OTHERWISE, "format", "signed_by", "signature"} == set(EngineRecord.__struct_fields__)
    for field, value in OTHERWISE.items():
        store.record_path(signed.name).write_bytes(msgspec.json.encode(msgspec.structs.replace(signed, **{field: value})))
        refused(store, line, "its record was altered after it was signed")
    for field in BoxFacts.__struct_fields__:
        box = msgspec.structs.replace(kit.ORIN, **{field: "x"})
        store.record_path(signed.name).write_bytes(msgspec.json.encode(msgspec.structs.replace(signed, box=box)))
        refused(store, line, "its record was altered after it was signed")


def test_a_spoiled_signature_is_found_wherever_it_is_spoiled(store: EngineStore, line: Bundle) -> None:
    signed = kit.put(store, kit.record(line))
    for at in (0, 1, 63, 64, 127):
        digit = "0" if signed.signature[at] != "0" else "1"
        spoiled = signed.signature[:at] + digit + signed.signature[at + 1 :]
        store.put_record(msgspec.structs.replace(signed, signature=spoiled))
        refused(store, line, "its record was altered after it was signed")
    for spoiled in ("zz", "ab", signed.signature + "00"):
        store.put_record(msgspec.structs.replace(signed, signature=spoiled))
        refused(store, line, "its record was altered after it was signed")


def test_an_unsigned_engine_is_refused_and_told_how_to_be_signed(store: EngineStore, line: Bundle) -> None:
    made = kit.put(store, kit.record(line), key=None)
    refused(store, line, r"is unsigned.*--box-key")
    store.put_record(msgspec.structs.replace(made, signed_by=kit.PUBLIC))
    refused(store, line, "is unsigned")


def test_the_key_that_signed_must_be_trusted_here(store: EngineStore, line: Bundle) -> None:
    signed = kit.put(store, kit.record(line))
    refused(store, line, rf"not trusted here \(seen: {kit.PUBLIC}\).*box_keys", keys=(kit.OTHER_PUBLIC,))
    refused(store, line, "no box key is trusted here", keys=())
    store.put_record(msgspec.structs.replace(signed, signed_by=kit.OTHER_PUBLIC))
    refused(store, line, "its record was altered after it was signed")


def test_another_member_s_signed_engine_under_this_name_is_refused(store: EngineStore, line: Bundle) -> None:
    kit.put(store, kit.record(line))
    other = kit.put(store, kit.record(line, "T5", data=b"engine of T5"), b"engine of T5")
    store.record_path("T2.T2-0.b1").write_bytes(store.record_path(other.name).read_bytes())
    refused(store, line, r"of another network: its name differs \(seen: built for T5\.T5-0\.b1")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"typology": "T5"}, "typology"),
        ({"member": "T2-1"}, "member"),
        ({"batch": 4}, "batch"),
        ({"shape": (16, 25)}, "heightmap's shape"),
        ({"shape": (0, 0)}, "heightmap's shape"),
        ({"onnx_sha256": "0" * 64}, "ONNX file's SHA-256"),
    ],
)
def test_a_genuine_record_of_something_else_is_refused_by_the_field_that_differs(
    store: EngineStore, line: Bundle, changes: dict[str, Any], field: str
) -> None:
    kit.put(store, msgspec.structs.replace(kit.record(line), **changes))
    refused(store, line, rf"of another network: its {field} differs \(seen: built for .*the bundle's is .*cordon engine build")


HERE = {
    "backend": "tensorrt_rtx",
    "version": "10.16.1",
    "gpu": "Orin Nano",
    "compute_capability": "8.9",
    "cuda": "13.2",
    "driver": "550.1",
    "l4t": "# R38 (release), REVISION: 2.0",
    "power_mode": "15W",
}


@pytest.mark.parametrize("field", HERE)
def test_an_engine_of_another_box_is_refused_by_the_fact_that_differs(store: EngineStore, line: Bundle, field: str) -> None:
    kit.put(store, kit.record(line))
    assert set(HERE) == set(BoxFacts.__struct_fields__)
    words, built, here = field.replace("_", " "), getattr(kit.ORIN, field), HERE[field]
    box = msgspec.structs.replace(kit.ORIN, **{field: here})
    message = f"for another box: its {words} differs (seen: built for {built}, here is {here})"
    refused(store, line, rf"{re.escape(message)}.*cordon engine build", box=box)


def test_a_fact_that_cannot_be_read_here_is_told_as_such(store: EngineStore, line: Bundle) -> None:
    kit.put(store, kit.record(line))
    box = msgspec.structs.replace(kit.ORIN, power_mode=None)
    refused(store, line, "power mode differs .*here is unknown .*could not be read", box=box)


def test_two_boxes_without_a_gpu_are_no_match(store: EngineStore, line: Bundle) -> None:
    nothing = BoxFacts(backend="tensorrt", version="10.3.0")
    kit.put(store, kit.record(line, box=nothing))
    refused(store, line, "this box has no usable GPU", box=nothing)


RTX_CASES = [
    (("SM86", "SM89"), (8, 9), None),
    (("SM86", "SM89"), None, None),
    (("SM86", "SM89"), (12, 0), r"built for SM86, SM89; this GPU is SM120\).*--device-target SM120"),
    (("SM86", "SM89"), (8, 7), r"this GPU is SM87\).*SM75, SM80, SM86, SM89, SM120, SM121: use TensorRT"),
    (("SM86", "SM89"), (9, 0), "this GPU is SM90.*use TensorRT"),
    ((), (8, 9), "no GPU generation it names; this GPU is SM89"),
]


@pytest.mark.parametrize(("targets", "here", "message"), RTX_CASES)
def test_an_engine_for_named_gpus_runs_on_those(
    store: EngineStore, line: Bundle, targets: tuple[str, ...], here: tuple[int, int] | None, message: str | None
) -> None:
    kit.put(store, kit.record(line, box=kit.RTX, targets=targets))
    if message is None:
        assert kit.opened_as(store, line, box=kit.RTX, compute_capability=here).data == DATA
    else:
        refused(store, line, message, box=kit.RTX, compute_capability=here)


def test_what_is_not_there_is_named_with_the_command_that_makes_it(store: EngineStore, line: Bundle) -> None:
    refused(store, line, "cannot open the folder")
    store.folder.mkdir()
    refused(store, line, r"there is no engine T2\.T2-0\.b1 .*cordon engine build .*--box-key")
    made = kit.put(store, kit.record(line))
    store.engine_path(made).unlink()
    refused(store, line, "has a record and no bytes")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[1]", b'{"format": 2}'])
def test_a_record_that_is_none_is_refused(store: EngineStore, line: Bundle, text: bytes) -> None:
    made = kit.put(store, kit.record(line))
    store.record_path(made.name).write_bytes(text)
    refused(store, line, "is no engine's record of this release")


def test_a_record_cannot_name_a_file_elsewhere(store: EngineStore, line: Bundle) -> None:
    made = kit.put(store, kit.record(line))
    text = store.record_path(made.name).read_text().replace(made.engine_sha256, "../../etc/secret")
    store.record_path(made.name).write_text(text)
    refused(store, line, "no usable name or digest")


@pytest.mark.parametrize("which", ["engine", "record"])
def test_links_and_pipes_are_not_followed(store: EngineStore, line: Bundle, tmp_path: Path, which: str) -> None:
    made = kit.put(store, kit.record(line))
    path = store.engine_path(made) if which == "engine" else store.record_path(made.name)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(store, line, r"cannot open .*no link")
    path.unlink()
    os.mkfifo(path)
    refused(store, line, "is no regular file")


@pytest.mark.parametrize("which", ["folder", "engine", "record"])
@pytest.mark.parametrize("bit", [stat.S_IWGRP, stat.S_IWOTH])
def test_what_others_can_write_is_refused(store: EngineStore, line: Bundle, which: str, bit: int) -> None:
    made = kit.put(store, kit.record(line))
    path = {"folder": store.folder, "engine": store.engine_path(made), "record": store.record_path(made.name)}[which]
    path.chmod(path.stat().st_mode | bit)
    refused(store, line, rf"{re.escape(str(path))} can be written by others .*chmod go-w")
    path.chmod(path.stat().st_mode & ~bit)
    assert kit.opened_as(store, line).data == DATA


def test_only_root_and_the_reader_may_own_an_engine(store: EngineStore, line: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.put(store, kit.record(line))
    if os.geteuid() == 0:  # become somebody else in the reader's eyes by giving the folder away
        os.chown(store.folder, 1234, -1)
    else:
        monkeypatch.setattr(files.os, "geteuid", lambda: os.getuid() + 1)
    refused(store, line, "belongs to another account")


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_engines_are_written_by_their_owner_and_read_by_the_inspector_whatever_the_umask(
    store: EngineStore, line: Bundle, mask: int
) -> None:
    before = os.umask(mask)
    try:
        kit.put(store, kit.record(line))
    finally:
        os.umask(before)
    assert kit.opened_as(store, line).data == DATA
    modes = [path.stat().st_mode & 0o777 for path in (store.folder, *store.folder.iterdir())]
    assert modes == [0o755, 0o644, 0o644]


def test_the_bytes_are_read_once(store: EngineStore, line: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    made = kit.put(store, kit.record(line))
    real, reads = trust.read_guarded, []

    def swapped_after_reading(handle: int, path: Path, limit: int) -> bytes:
        data = real(handle, path, limit)
        reads.append(path.name)
        path.write_bytes(b"something else entirely")
        return data

    monkeypatch.setattr(trust, "read_guarded", swapped_after_reading)
    assert kit.opened_as(store, line).data == DATA
    assert reads == [f"{made.name}.json", made.file]


def test_an_engine_replaced_between_record_and_bytes_is_read_again(
    store: EngineStore, line: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.put(store, kit.record(line))
    real = trust.read_guarded
    replaced: list[EngineRecord] = []

    def rebuilt_meanwhile(handle: int, path: Path, limit: int) -> bytes:
        data = real(handle, path, limit)
        if not replaced:
            replaced.append(kit.put(store, kit.record(line, data=b"the next one"), b"the next one"))
            store.publish(replaced)
        return data

    monkeypatch.setattr(trust, "read_guarded", rebuilt_meanwhile)
    assert kit.opened_as(store, line).data == b"the next one"
