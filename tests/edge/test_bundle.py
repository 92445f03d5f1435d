import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import edge.bundle
from edge.bundle import (
    FileEntry,
    Golden,
    Manifest,
    Member,
    TypologySpec,
    file_entries,
    open_bundle,
    save_bundle,
    sign_bundle,
    verify_bundle,
)
from edge.errors import BundleContentError, BundleError, BundleFormatError, BundleSignatureError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow

FILES = {"t.onnx": b"network", "good": b"g" * 12, "bad": b"b" * 12}
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OPEN = Path("/proc/self/fd")
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def _manifest(**changes: object) -> Manifest:
    member = Member(name="m", file="t.onnx", architecture="tiny", input="heightmap", output="scores", classes=("bad", "good"))
    golden = tuple(
        Golden(file=label, label=label, kind="heightmap", shape=(3, 4), dtype="u1", score=score)
        for label, score in (("good", 0.1), ("bad", 0.9))
    )
    typology = TypologySpec(name="T3", heightmap=HeightmapSpec(window=PercentileWindow()), members=(member,), threshold=0.5, golden=golden)
    values = {
        "format": 1,
        "name": "line",
        "version": 1,
        "typologies": (typology,),
        "files": file_entries(FILES),
    }
    return Manifest(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data() -> bytes:
    return sign_bundle(_manifest(), FILES, KEY)


def test_what_was_signed_is_what_is_loaded(data: bytes, tmp_path: Path) -> None:
    save_bundle(data, tmp_path / "line.cordon")
    bundle = open_bundle(tmp_path / "line.cordon", (PUBLIC,))
    assert bundle.manifest == _manifest()
    assert {name: bytes(view) for name, view in bundle.files.items()} == FILES
    assert bundle.hash == hashlib.sha256(msgspec.json.encode(_manifest())).hexdigest()


def test_every_altered_byte_is_refused(data: bytes) -> None:
    for i in range(len(data)):
        altered = bytearray(data)
        altered[i] ^= 0x01
        with pytest.raises(BundleError):
            verify_bundle(bytes(altered), (PUBLIC,))


def test_every_truncation_and_any_extra_byte_is_refused(data: bytes) -> None:
    for size in range(0, len(data), 7):
        with pytest.raises(BundleError):
            verify_bundle(data[:size], (PUBLIC,))
    with pytest.raises(BundleContentError, match="no manifest entry"):
        verify_bundle(data + b"x", (PUBLIC,))


def test_an_untrusted_key_is_refused_before_the_manifest_is_read(data: bytes) -> None:
    with pytest.raises(BundleSignatureError, match="does not trust"):
        verify_bundle(data, ("00" * 32,))


def test_a_signature_of_another_bundle_is_refused(data: bytes) -> None:
    other = sign_bundle(_manifest(version=2), FILES, KEY)
    with pytest.raises(BundleSignatureError, match="altered"):
        verify_bundle(data[:40] + other[40:104] + data[104:], (PUBLIC,))


def test_swapped_files_are_refused(data: bytes) -> None:
    swapped = data[:-24] + b"b" * 12 + b"g" * 12
    with pytest.raises(BundleContentError, match="was altered"):
        verify_bundle(swapped, (PUBLIC,))


def test_a_missing_or_foreign_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BundleFormatError, match="No such file"):
        open_bundle(tmp_path / "none", (PUBLIC,))
    (tmp_path / "zip").write_bytes(b"PK\x03\x04" * 100)
    with pytest.raises(BundleFormatError, match="not a bundle"):
        open_bundle(tmp_path / "zip", (PUBLIC,))


@pytest.mark.parametrize("threshold", [float("nan"), 0.0, 1.0, -1.0, 2.0, float("inf")])
def test_a_threshold_that_is_no_threshold_cannot_be_signed(threshold: float) -> None:
    typology = _manifest().typologies[0]
    with pytest.raises(BundleFormatError, match="threshold"):
        msgspec.structs.replace(typology, threshold=threshold)


def test_a_typology_needs_good_and_bad_golden_inputs() -> None:
    typology = _manifest().typologies[0]
    with pytest.raises(BundleFormatError, match="golden"):
        msgspec.structs.replace(typology, golden=typology.golden[:1])


def test_a_manifest_with_unknown_keys_is_refused() -> None:
    text = msgspec.json.encode(_manifest()).replace(b'"name":"line"', b'"name":"line","skip_checks":true')
    head = verify_and_resign(text)
    with pytest.raises(BundleFormatError, match="skip_checks"):
        verify_bundle(head, (PUBLIC,))


def verify_and_resign(text: bytes, body: bytes = b"".join(FILES.values())) -> bytes:
    """The bundle with another manifest text under a genuine signature, as a buggy exporter could write it."""
    good = sign_bundle(_manifest(), FILES, KEY)
    head = good[:8] + bytes.fromhex(PUBLIC)
    length = len(text).to_bytes(4, "little")
    return head + KEY.sign(head + length + text) + length + text + body


def test_a_signed_manifest_of_no_bytes_is_no_manifest() -> None:
    bundle = verify_and_resign(b"", b"")
    assert len(bundle) == 108
    with pytest.raises(BundleFormatError, match="does not fit the schema"):
        verify_bundle(bundle, (PUBLIC,))


def test_a_bundle_of_empty_files_is_a_bundle() -> None:
    empty = dict.fromkeys(FILES, b"")
    bundle = verify_bundle(sign_bundle(_manifest(files=file_entries(empty)), empty, KEY), (PUBLIC,))
    assert {name: bytes(view) for name, view in bundle.files.items()} == empty


def test_where_a_copy_broke_off_is_told(data: bytes) -> None:
    with pytest.raises(BundleFormatError, match="not a bundle") as caught:
        verify_bundle(data[:107], (PUBLIC,))
    assert caught.value.seen == b"CORDON\x00\x01".hex()
    for end in (108, 150, len(data) - 32):
        with pytest.raises(BundleFormatError, match="truncated"):
            verify_bundle(data[:end], (PUBLIC,))
    with pytest.raises(BundleContentError, match="file bad does not lie where it should"):
        verify_bundle(data[:-1], (PUBLIC,))
    with pytest.raises(BundleContentError, match=r"no manifest entry covers \(seen: 3\)"):
        verify_bundle(data + b"xyz", (PUBLIC,))


@pytest.mark.parametrize(("length", "error"), [(4 * 2**20, BundleSignatureError), (4 * 2**20 + 1, BundleFormatError)])
def test_a_manifest_may_have_4_mib(data: bytes, length: int, error: type[BundleError]) -> None:
    large = data[:104] + length.to_bytes(4, "little") + bytes(length)
    with pytest.raises(error):
        verify_bundle(large, (PUBLIC,))


def test_a_file_of_more_than_2_gib_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.touch()
    os.truncate(path, 2**31 + 1)
    with pytest.raises(BundleFormatError, match=r"too large for a bundle.*At most 2147483648 bytes"):
        open_bundle(path, (PUBLIC,))


@pytest.mark.parametrize("spare", [0, -1])
def test_a_file_may_be_exactly_as_large_as_a_bundle_may(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int) -> None:
    save_bundle(data, tmp_path / "line.cordon")
    monkeypatch.setattr(edge.bundle, "MAX_BUNDLE_BYTES", len(data) + spare)
    if spare == 0:
        assert open_bundle(tmp_path / "line.cordon", (PUBLIC,)).signed_by == PUBLIC
        return
    with pytest.raises(BundleFormatError, match="too large"):
        open_bundle(tmp_path / "line.cordon", (PUBLIC,))


@pytest.mark.timeout(5)
@pytest.mark.parametrize(("make", "told"), [(os.mkfifo, "no regular file.*prw"), (os.mkdir, "Is a directory")])
def test_what_is_no_file_neither_hangs_the_reader_nor_stays_open(tmp_path: Path, make: Callable[[Path], None], told: str) -> None:
    make(tmp_path / "odd")
    before = len(list(OPEN.iterdir()))
    for _ in range(3):
        with pytest.raises(BundleFormatError, match=told):
            open_bundle(tmp_path / "odd", (PUBLIC,))
    assert len(list(OPEN.iterdir())) == before


def with_entries(*entries: FileEntry, body: bytes) -> bytes:
    text = msgspec.json.encode(_manifest()).replace(msgspec.json.encode(_manifest().files), msgspec.json.encode(entries))
    return verify_and_resign(text, body)


def entry(name: str, offset: int, data: bytes, size: int | None = None) -> FileEntry:
    return FileEntry(name, offset, len(data) if size is None else size, hashlib.sha256(data).hexdigest())


NETWORK, GOOD, BAD = entry("t.onnx", 0, b"net"), entry("good", 3, b"gg"), entry("bad", 5, b"bbb")


@pytest.mark.parametrize(
    ("entries", "body", "name"),
    [
        ((NETWORK, entry("good", 4, b"gg"), entry("bad", 6, b"bbb")), b"net.ggbbb", "good"),
        ((NETWORK, entry("good", 2, b"tg"), entry("bad", 4, b"bbb")), b"netgbbb", "good"),
        ((NETWORK, entry("good", 3, b"", -1), entry("bad", 2, b"tbb")), b"netbb", "good"),
        ((entry("bad", 0, b"", -1), NETWORK, GOOD), b"netgg", "bad"),
        ((NETWORK, GOOD, entry("bad", 5, b"bbb", 4)), b"netggbbb", "bad"),
        ((NETWORK, GOOD, BAD, entry("good", 8, b"xx")), b"netggbbbxx", "good"),
    ],
)
def test_files_lie_one_after_the_other_and_each_has_a_name_of_its_own(entries: tuple[FileEntry, ...], body: bytes, name: str) -> None:
    with pytest.raises(BundleContentError, match=f"file {name} does not lie where it should"):
        verify_bundle(with_entries(*entries, body=body), (PUBLIC,))
    assert verify_bundle(with_entries(NETWORK, GOOD, BAD, body=b"netggbbb"), (PUBLIC,)).files["good"] == b"gg"


def test_a_manifest_that_is_no_text_is_refused_like_any_other_mistake() -> None:
    text = msgspec.json.encode(_manifest()).replace(b'"name":"line"', b'"name":"\xff"')
    with pytest.raises(BundleFormatError, match=r"does not fit the schema \(seen: .*utf-8"):
        verify_bundle(verify_and_resign(text), (PUBLIC,))


def test_a_heightmap_that_cannot_be_made_is_refused_like_any_other_mistake() -> None:
    spec = _manifest().typologies[0].heightmap
    text = msgspec.json.encode(_manifest()).replace(f'"height":{spec.height}'.encode(), b'"height":-1')
    with pytest.raises(BundleFormatError, match=r"does not fit the schema \(seen: .*height"):
        verify_bundle(verify_and_resign(text), (PUBLIC,))


def test_files_that_are_not_those_of_the_manifest_cannot_be_signed() -> None:
    with pytest.raises(BundleContentError, match="file good was altered"):
        sign_bundle(_manifest(), {**FILES, "good": b"x" * 12}, KEY)


def test_what_was_seen_is_told_in_short(data: bytes) -> None:
    with pytest.raises(BundleSignatureError, match=rf"never signed \(seen: key {PUBLIC[:16]}\)"):
        verify_bundle(data[:50] + b"\0" + data[51:], (PUBLIC,))
    bundle = verify_bundle(data, (PUBLIC,))
    assert repr(bundle) == f"Bundle('line', version=1, hash={bundle.hash[:12]}, files=3)"


def test_a_saved_bundle_is_on_the_disk_before_it_takes_the_old_ones_place(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, seen = tmp_path / "line.cordon", os.fsync, []
    path.write_bytes(b"old")

    def watched(handle: int) -> None:
        status = os.fstat(handle)
        seen.append((stat.S_ISDIR(status.st_mode) or status.st_size, path.stat().st_size))
        real(handle)

    monkeypatch.setattr(os, "fsync", watched)
    before = len(list(OPEN.iterdir()))
    save_bundle(data, path)
    assert seen == [(len(data), 3), (True, len(data))]
    assert len(list(OPEN.iterdir())) == before
    assert list(tmp_path.iterdir()) == [path]
