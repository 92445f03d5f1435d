"""Every input that is kept goes through its harness, with or without atheris; and every harness can fail."""

import importlib
import random
from pathlib import Path
from types import ModuleType

import pytest

from edge import bundle as bundles
from edge.config import gate
from edge.gate.codec import Decoder
from edge.inspector.frame import decode_header
from fuzz.harness import MAX_INPUT_BYTES, TARGETS, corpus

KEPT = [(target, path) for target in TARGETS for path in corpus(target)]


def _harness(target: str) -> ModuleType:
    return importlib.import_module(f"fuzz.{target}")


@pytest.mark.parametrize(("target", "path"), KEPT, ids=[f"{target}-{path.name}" for target, path in KEPT])
def test_an_input_that_is_kept_breaks_nothing(target: str, path: Path) -> None:
    _harness(target).check(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_short_and_altered_inputs_break_nothing(target: str) -> None:
    check, chance = _harness(target).check, random.Random(1)
    for length in range(4):
        check(bytes(length))
    for path in corpus(target):
        data = bytearray(path.read_bytes())
        for _ in range(5):
            data[chance.randrange(len(data))] = chance.randrange(256)
            check(bytes(data))


def test_the_corpora_are_small_and_every_input_fits_the_fuzzer() -> None:
    sizes = [path.stat().st_size for _, path in KEPT]
    assert max(sizes) <= MAX_INPUT_BYTES
    assert sum(sizes) < 500_000


def _broken_by(target: str) -> bool:
    check, broken = _harness(target).check, False
    for path in corpus(target):
        try:
            check(path.read_bytes())
        except (AssertionError, ValueError):
            broken = True
    return broken


def test_a_decoder_that_forgets_a_frame_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Decoder._keep
    monkeypatch.setattr(Decoder, "_keep", lambda self, rest: keep(self, rest[: -1 if rest.endswith(b",") else None]))
    assert _broken_by("serial_decoder")


def test_a_decoder_that_counts_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "_count_cut_short", lambda *_: None)
    assert _broken_by("serial_decoder")


def test_a_header_whose_size_is_not_limited_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.frame_header.decode_header", lambda text, **_: decode_header(text, max_frame_bytes=1 << 40))
    assert _broken_by("frame_header")


def test_a_bundle_whose_signature_is_not_checked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gullible:
        @staticmethod
        def from_public_bytes(_key: bytes) -> "Gullible":
            return Gullible()

        def verify(self, *_: object) -> None:
            return

    monkeypatch.setattr(bundles, "Ed25519PublicKey", Gullible)
    assert _broken_by("bundle_manifest")


def test_a_configuration_that_is_not_checked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "between", lambda *_: None)
    assert _broken_by("configuration")


@pytest.mark.parametrize("choice", [0, 1])
def test_a_number_of_thousands_of_digits_is_refused_as_any_other_mistake(choice: int) -> None:
    _harness("configuration").check(bytes([choice]) + b"[gate]\nport = " + b"9" * 5000)
