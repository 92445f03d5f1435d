from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.commands import new_key
from edge.errors import ExportError
from export.keys import read_private_key


def test_the_key_that_cordon_keys_writes_is_read(tmp_path: Path) -> None:
    public = new_key(tmp_path / "key")
    assert read_private_key(tmp_path / "key").public_key().public_bytes_raw().hex() == public


def test_a_key_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    new_key(path)
    path.chmod(0o640)
    with pytest.raises(ExportError, match=r"others may read the signing key .* mode 0640.* chmod 600"):
        read_private_key(path)


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab" * 31, "ab" * 33, "\N{SNOWMAN}"])
def test_anything_but_64_hex_digits_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(ExportError, match="signing key") as caught:
        read_private_key(path)
    assert not text or text not in str(caught.value)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cordon keys new"):
        read_private_key(tmp_path / "missing")


def test_a_public_key_in_its_place_signs_with_another_identity(tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    path = tmp_path / "key"
    path.write_text(public)
    path.chmod(0o600)
    assert read_private_key(path).public_key().public_bytes_raw().hex() != public
