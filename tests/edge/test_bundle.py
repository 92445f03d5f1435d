import hashlib
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import Golden, Manifest, Member, TypologySpec, file_entries, open_bundle, save_bundle, sign_bundle, verify_bundle
from edge.errors import BundleContentError, BundleError, BundleFormatError, BundleSignatureError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow

FILES = {"t.onnx": b"network", "good": b"g" * 12, "bad": b"b" * 12}
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
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


def verify_and_resign(text: bytes) -> bytes:
    """The bundle with another manifest text under a genuine signature, as a buggy exporter could write it."""
    good = sign_bundle(_manifest(), FILES, KEY)
    head = good[:8] + bytes.fromhex(PUBLIC)
    length = len(text).to_bytes(4, "little")
    return head + KEY.sign(head + length + text) + length + text + b"".join(FILES.values())
