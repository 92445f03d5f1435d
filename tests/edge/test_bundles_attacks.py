"""What must not get into the store, into use or into the inspector is refused, each with its own named reason."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bundles_kit import (
    activate,
    agree,
    bundle_path,
    change_state,
    forged,
    inspector_config,
    install,
    made,
    opened,
    signed_anyhow,
    store_in,
    write,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny import KEY, PUBLIC

from edge.bundle import sign_bundle
from edge.bundles.opening import open_configured
from edge.bundles.state import Proof
from edge.bundles.store import Store
from edge.errors import BundleError, BundlePolicyError, KnownAnswerError

OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_PUBLIC = OTHER.public_key().public_bytes_raw().hex()
MANIFEST_AT = 108


def _of(data: bytes, at: int, new: bytes) -> bytes:
    at %= len(data)
    return data[:at] + new + data[at + len(new) :]


def _flip(data: bytes, at: int) -> bytes:
    return _of(data, at, bytes([data[at] ^ 1]))


def _body_at(data: bytes) -> int:
    return MANIFEST_AT + int.from_bytes(data[104:108], "little")


def _by_another_key(key: Ed25519PrivateKey) -> bytes:
    bundle = opened(1)
    return sign_bundle(bundle.manifest, {name: bytes(view) for name, view in bundle.files.items()}, key)


def _swapped_files(data: bytes) -> bytes:
    at, sizes = _body_at(data), [entry.size for entry in opened(1).manifest.files]
    first, second = data[at : at + sizes[0]], data[at + sizes[0] : at + sizes[0] + sizes[1]]
    return data[:at] + second + first + data[at + sizes[0] + sizes[1] :]


BYTES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty": (lambda: b"", "BundleFormatError", "not a bundle"),
    "a header and no more": (lambda: made(1)[:108], "BundleFormatError", "truncated"),
    "half a header": (lambda: made(1)[:60], "BundleFormatError", "not a bundle"),
    "other magic": (lambda: _flip(made(1), 0), "BundleFormatError", "not a bundle"),
    "next format": (lambda: _of(made(1), 7, b"\x02"), "BundleFormatError", "not a bundle"),
    "a zip": (lambda: b"PK\x03\x04" + bytes(4096), "BundleFormatError", "not a bundle"),
    "another key written in": (lambda: _of(made(1), 8, bytes.fromhex(OTHER_PUBLIC)), "BundleSignatureError", "does not trust"),
    "a key of zeros": (lambda: _of(made(1), 8, bytes(32)), "BundleSignatureError", "does not trust"),
    "signed by a stranger": (lambda: _by_another_key(OTHER), "BundleSignatureError", "does not trust"),
    "signature bit": (lambda: _flip(made(1), 50), "BundleSignatureError", "altered"),
    "signature of zeros": (lambda: _of(made(1), 40, bytes(64)), "BundleSignatureError", "altered"),
    "signature of another bundle": (lambda: _of(made(1), 40, made(2)[40:104]), "BundleSignatureError", "altered"),
    "length plus one": (lambda: _of(made(1), 104, (_body_at(made(1)) - 107).to_bytes(4, "little")), "BundleSignatureError", "altered"),
    "length zero": (lambda: _of(made(1), 104, bytes(4)), "BundleSignatureError", "altered"),
    "length of 4 GiB": (lambda: _of(made(1), 104, b"\xff" * 4), "BundleFormatError", "too large"),
    "manifest byte": (lambda: _flip(made(1), MANIFEST_AT + 40), "BundleSignatureError", "altered"),
    "manifest of another bundle": (
        lambda: made(1)[:104] + made(2)[104 : _body_at(made(2))] + made(1)[_body_at(made(1)) :],
        "BundleSignatureError",
        "altered",
    ),
    "network byte": (lambda: _flip(made(1), _body_at(made(1)) + 9), "BundleContentError", "was altered"),
    "last byte": (lambda: _of(made(1), -1, bytes([made(1)[-1] ^ 1])), "BundleContentError", "was altered"),
    "files of another line": (
        lambda: made(1)[: _body_at(made(1))] + bytes(len(made(1)) - _body_at(made(1))),
        "BundleContentError",
        "was altered",
    ),
    "two files changed places": (lambda: _swapped_files(made(1)), "BundleContentError", "altered"),
    "cut in the manifest": (lambda: made(1)[: MANIFEST_AT + 9], "BundleFormatError", "truncated"),
    "cut by one byte": (lambda: made(1)[:-1], "BundleContentError", "not lie where"),
    "a byte more": (lambda: made(1) + b"\0", "BundleContentError", "no manifest entry covers"),
    "a second bundle behind it": (lambda: made(1) + made(2), "BundleContentError", "no manifest entry covers"),
}


def _entry(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["files"][-1] |= changes

    return change


def _more(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        last = manifest["files"][-1]
        empty = {"offset": last["offset"] + last["size"], "size": 0}
        empty["sha256"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        manifest["files"] += [{"name": name, **empty} for name in names]

    return change


def _set(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.update(changes)


NAMED, PLACED = ("BundleFormatError", "file name"), ("BundleContentError", "not lie where")
SCHEMA, DECEIVE = ("BundleFormatError", "schema"), ("BundleFormatError", "deceive")
MANIFESTS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    **{
        f"name {name[:12]!a}": (lambda name=name: forged(_more(name)), *NAMED)
        for name in (
            "../../etc/cron.d/x",
            "/etc/passwd",
            "a/../../b",
            "a//b",
            "./a",
            "..",
            ".ssh/key",
            "",
            "a\\b",
            "C:\\a",
            "a\0b",
            "a\nb",
            "\u0430.onnx",
            "a\u202efoo",
            "a\u0301",
            "\uff0e\uff0e/a",
            "-rf ",
            "x" * 300,
        )
    },
    "a name twice": (lambda: forged(_more("a.bin", "a.bin")), *PLACED),
    "names differ in case": (lambda: forged(_more("a.bin", "A.BIN")), "BundleFormatError", "case only"),
    "a name as file and folder": (lambda: forged(_more("a", "a/b")), "BundleFormatError", "file and as folder"),
    "5,000 files": (lambda: forged(_more(*(f"f{number}" for number in range(5_000)))), "BundleFormatError", "too many files"),
    "a manifest of 5 MB": (lambda: signed_anyhow(b" " * 5_000_000), "BundleFormatError", "too large"),
    "nested a million deep": (lambda: signed_anyhow(b'{"router":' + b"[" * 1_000_000), *SCHEMA),
    "no JSON": (lambda: signed_anyhow(b"\xff\xfe"), *SCHEMA),
    "offset backwards": (lambda: forged(_entry(offset=0)), *PLACED),
    "a gap": (lambda: forged(_entry(offset=10**6)), *PLACED),
    "negative size": (lambda: forged(_entry(size=-1)), *PLACED),
    "size beyond the end": (lambda: forged(_entry(size=2**62)), *PLACED),
    "size beyond numbers": (lambda: forged(lambda m: m["files"][-1].update(size=2**63)), *PLACED),
    "a key twice": (
        lambda: signed_anyhow(msgspec.json.encode(opened(1).manifest).replace(b'"threshold":', b'"threshold":0.9,"threshold":', 1)),
        "BundleFormatError",
        "'threshold' stands there twice",
    ),
    "an unknown rule": (lambda: forged(_set(always_accept=True)), *SCHEMA),
    "format 2": (lambda: forged(_set(format=2)), *SCHEMA),
    "version 0": (lambda: forged(_set(version=0)), "BundleFormatError", "version"),
    "version as text": (lambda: forged(_set(version="9")), *SCHEMA),
    "no typology": (lambda: forged(_set(typologies=[])), "BundleFormatError", "typologies"),
    "a threshold that accepts all": (
        lambda: forged(lambda manifest: manifest["typologies"][0].update(threshold=1.0)),
        "BundleFormatError",
        "threshold",
    ),
    "only good golden inputs": (
        lambda: forged(lambda manifest: manifest["typologies"][0]["golden"].pop()),
        "BundleFormatError",
        "golden inputs",
    ),
    "no name": (lambda: forged(_set(name="")), *DECEIVE),
    "a name in look-alike letters": (lambda: forged(_set(name="t\u0456ny")), *DECEIVE),
    "a name that writes on the terminal": (lambda: forged(_set(name="tiny\x1b[2J")), *DECEIVE),
}


@pytest.mark.parametrize(("data", "kind", "words"), [*BYTES.values(), *MANIFESTS.values()], ids=[*BYTES, *MANIFESTS])
def test_what_is_not_genuine_and_sound_is_not_installed(tmp_path: Path, data: Callable[[], bytes], kind: str, words: str) -> None:
    store = store_in(tmp_path / "bundles")
    with pytest.raises(BundleError, match=words) as caught:
        install(store, data())
    assert type(caught.value).__name__ == kind
    assert store.installed() == ()
    assert sorted(path.name for path in store.folder.iterdir()) == ["lock", "state.json", "versions"]


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 * 1024**3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.symlink_to(write(path.with_suffix(".real"), made(1))), "symbolic link"),
        (lambda path: path.symlink_to(path), "symbolic link"),
        (lambda path: path.mkdir(), "no regular file"),
        (os.mkfifo, "no regular file"),
        (_socket, "cannot read"),
        (lambda path: path.symlink_to("/dev/zero"), "symbolic link"),
        (_sparse, "too large"),
        (lambda _: None, "No such file"),
    ],
    ids=["link", "link to itself", "folder", "pipe", "socket", "link to a device", "3 GiB", "nothing"],
)
def test_only_a_plain_file_is_installed(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    make(tmp_path / "new.cordon")
    with pytest.raises(BundleError, match=words):
        store_in(tmp_path / "bundles").install(tmp_path / "new.cordon")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/mem", "a\0b"])
def test_a_device_is_no_bundle(tmp_path: Path, path: str) -> None:
    with pytest.raises(BundleError, match=r"no regular file|cannot read|not a bundle"):
        store_in(tmp_path / "bundles").install(Path(path))


RULES: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "revoked key": ({"revoked_keys": (PUBLIC,)}, made(3), "revoked key"),
    "revoked bundle": ({"revoked_bundles": (opened(2).hash,)}, made(2), "is revoked"),
    "min_version": ({"min_version": 3}, made(2), "min_version"),
    "configured line": ({"line": "other"}, made(2), "another line"),
    "missing typology": ({"typologies": ("T2", "T9")}, made(2), "T9"),
    "no longer trusted": ({"trusted": (OTHER_PUBLIC,)}, made(2), "does not trust"),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_holds_at_install_at_activation_and_at_load(tmp_path: Path, rule: str) -> None:
    changes, data, words = RULES[rule]
    free, bound = store_in(tmp_path / "bundles"), store_in(tmp_path / "bundles", **changes)
    activate(free, made(1))
    with pytest.raises(BundleError, match=words):
        install(bound, data)
    name = install(free, data)
    with pytest.raises(BundleError, match=words):
        bound.activate(name, agree(free))
    free.activate(name, agree(free))
    assert open_configured(inspector_config(free)).hash == name
    with pytest.raises(BundleError, match=words):
        open_configured(inspector_config(bound))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (made(1), "older than what was active"),
        (made(2), "another bundle of this version"),
        (made(3, note="other content"), "another bundle of this version"),
        (made(9, name="other"), "another line"),
    ],
    ids=["first", "one below", "same version", "other line"],
)
def test_what_was_left_behind_does_not_come_back(tmp_path: Path, data: bytes, words: str) -> None:
    store = store_in(tmp_path / "bundles")
    activate(store, made(2, note="only for its version"))
    activate(store, made(3))
    with pytest.raises(BundlePolicyError, match=words):
        install(store, data)


def test_an_older_version_is_not_activated_that_was_installed_before(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    old = install(store, made(1))
    activate(store, made(3))
    with pytest.raises(BundlePolicyError, match="older"):
        store.activate(old, agree(store))


def test_the_floor_survives_the_removal_of_every_other_bundle(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    names = [activate(store, made(version)) for version in (1, 2, 3)]
    store.remove(names[0])
    with pytest.raises(BundlePolicyError, match="older"):
        install(store, made(1))
    for name in names[1:]:
        with pytest.raises(BundlePolicyError, match="active or the way back"):
            store.remove(name)


def _refuses(name: str) -> Proof:
    raise KnownAnswerError("no", seen=name, remedy="none")


PROOFS: dict[str, tuple[Callable[[Store, str], Callable[[str], Proof]], str]] = {
    "golden inputs disagree": (lambda _s, _n: _refuses, "no"),
    "no golden input ran": (lambda _s, _n: lambda _: Proof(version=2, answers=0, backend=""), "something else was proved"),
    "another bundle was proved": (lambda _s, _n: lambda _: Proof(version=1, answers=6, backend=""), "something else was proved"),
    "file swapped while proving": (
        lambda s, n: lambda _: (write(bundle_path(s, n), made(1)), Proof(version=2, answers=6, backend=""))[1],
        "another bundle lies",
    ),
    "file removed while proving": (
        lambda s, n: lambda _: (bundle_path(s, n).unlink(), Proof(version=2, answers=6, backend=""))[1],
        "missing",
    ),
    "recipes need another typology": (lambda s, _n: agree(s), "recipes name"),
}


@pytest.mark.parametrize("case", PROOFS)
def test_what_did_not_prove_itself_is_not_activated(tmp_path: Path, case: str) -> None:
    store = store_in(tmp_path / "bundles")
    first, second = activate(store, made(1)), install(store, made(2))
    prove, words = PROOFS[case]
    needed = frozenset({"T2", "T9"} if "recipes" in case else {"T2"})
    with pytest.raises((BundleError, KnownAnswerError), match=words):
        store.activate(second, prove(store, second), needed=needed)
    assert (store.state().active, store.state().highest) == (first, 1)
    assert open_configured(inspector_config(store)).hash == first


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    kept = path.rename(path.with_name("kept"))
    make(path)
    assert kept.exists()


def _linked(path: Path) -> None:
    _replace(path, lambda p: p.symlink_to(p.with_name("kept")))


def _hard(path: Path) -> None:
    os.link(path, path.with_name("second"))


def _state_text(store: Store, old: bytes, new: bytes) -> None:
    path = store.folder / "state.json"
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def _state_path(store: Store) -> Path:
    return store.folder / "state.json"


TAMPERED: dict[str, tuple[Callable[[Store, str], object], str]] = {
    "another genuine version in its place": (lambda s, n: write(bundle_path(s, n), made(1)), "another bundle lies"),
    "a newer genuine one in its place": (lambda s, n: write(bundle_path(s, n), made(9)), "another bundle lies"),
    "its last byte": (lambda s, n: write(bundle_path(s, n), _of(made(2), -1, b"?")), "altered"),
    "cut off": (lambda s, n: write(bundle_path(s, n), made(2)[:-9]), "not lie where"),
    "emptied": (lambda s, n: write(bundle_path(s, n), b""), "not a bundle"),
    "removed": (lambda s, n: bundle_path(s, n).unlink(), "missing"),
    "folder removed": (lambda s, n: bundle_path(s, n).parent.rename(s.folder / "away"), "cannot open"),
    "a link": (lambda s, n: _linked(bundle_path(s, n)), "no file of the store"),
    "a hard link": (lambda s, n: _hard(bundle_path(s, n)), "2 hard links"),
    "a pipe": (lambda s, n: _replace(bundle_path(s, n), os.mkfifo), "no file of the store"),
    "a folder": (lambda s, n: _replace(bundle_path(s, n), Path.mkdir), "no file of the store"),
    "writable by all": (lambda s, n: bundle_path(s, n).chmod(0o666), "written by others"),
    "version folder writable by the group": (lambda s, n: bundle_path(s, n).parent.chmod(0o775), "written by others"),
    "version folder a link": (lambda s, n: _linked(bundle_path(s, n).parent), "cannot open"),
    "versions a link": (lambda s, _: _linked(s.folder / "versions"), "cannot open"),
    "versions writable by all": (lambda s, _: (s.folder / "versions").chmod(0o777), "written by others"),
    "store writable by all": (lambda s, _: s.folder.chmod(0o777), "written by others"),
    "store writable by all, sticky": (lambda s, _: s.folder.chmod(0o1777), "written by others"),
    "store a link": (lambda s, _: _linked(s.folder), "cannot open"),
    "store a file": (lambda s, _: _replace(s.folder, lambda p: write(p, b"")), "cannot open"),
    "store gone": (lambda s, _: s.folder.rename(s.folder.with_name("gone")), "cannot open"),
    "state removed": (lambda s, _: _state_path(s).unlink(), "is missing"),
    "state emptied": (lambda s, _: write(_state_path(s), b""), "cannot be trusted"),
    "state garbage": (lambda s, _: write(_state_path(s), os.urandom(500)), "cannot be trusted"),
    "state cut off": (lambda s, _: write(_state_path(s), _state_path(s).read_bytes()[:-3]), "cannot be trusted"),
    "state a link": (lambda s, _: _linked(_state_path(s)), "no file of the store"),
    "state a hard link": (lambda s, _: _hard(_state_path(s)), "hard links"),
    "state writable by all": (lambda s, _: _state_path(s).chmod(0o646), "written by others"),
    "state of 5 MB": (lambda s, _: write(_state_path(s), bytes(5_000_000)), "no file of the store"),
    "floor edited": (lambda s, _: _state_text(s, b'"floor":1', b'"floor":0'), "checksum"),
    "highest edited": (lambda s, _: _state_text(s, b'"highest":2', b'"highest":1'), "checksum"),
    "exemption added": (lambda s, _: _state_text(s, b'"exempt":{}', b'"exempt":{"ab":"x"}'), "checksum"),
    "highest lowered with a checksum": (lambda s, _: change_state(s, highest=1), "do not fit"),
    "floor lifted with a checksum": (lambda s, _: change_state(s, floor=3), "cannot be trusted"),
    "negative floor with a checksum": (lambda s, _: change_state(s, floor=-1), "cannot be trusted"),
    "another version claimed with a checksum": (
        lambda s, n: change_state(s, floor=5, highest=9, previous="", proved={n: Proof(version=9, answers=6, backend="")}),
        "older than the floor",
    ),
    "never proved made active": (lambda s, _: change_state(s, active=install(s, made(9))), "never proved"),
    "active names a path": (lambda s, _: change_state(s, active="../../evil"), "never proved"),
    "active names nothing": (lambda s, _: change_state(s, active=""), "no bundle is active"),
    "line renamed with a checksum": (lambda s, _: change_state(s, line="other"), "another line"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_store_that_somebody_changed_is_not_loaded_from(tmp_path: Path, case: str) -> None:
    store = store_in(tmp_path / "bundles")
    activate(store, made(1))
    name = activate(store, made(2))
    assert open_configured(inspector_config(store)).hash == name
    spoil, words = TAMPERED[case]
    spoil(store, name)
    with pytest.raises(BundleError, match=words):
        open_configured(inspector_config(store))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["", "versions", "state.json"])
def test_what_belongs_to_another_account_is_not_used(tmp_path: Path, what: str) -> None:
    store = store_in(tmp_path / "bundles")
    activate(store, made(1))
    os.chown(store.folder / what, 12_345, 12_345)
    with pytest.raises(BundleError, match="another account"):
        open_configured(inspector_config(store))


def test_a_removed_state_does_not_lower_the_floor(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    activate(store, made(3))
    (store.folder / "state.json").unlink()
    with pytest.raises(BundleError, match="is missing"):
        install(store, made(1))


def test_a_file_swapped_after_it_was_read_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, source = store_in(tmp_path / "bundles"), write(tmp_path / "new.cordon", made(1))
    fsync = os.fsync

    def swap(handle: int) -> None:
        write(source, b"evil")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", swap)
    name = store.install(source)[0].hash
    assert source.read_bytes() == b"evil"
    assert bundle_path(store, name).read_bytes() == made(1)


def test_a_store_swapped_for_a_link_while_installing_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, evil = store_in(tmp_path / "bundles"), tmp_path / "evil"
    activate(store, made(1))
    evil.mkdir()
    rename = os.rename

    def swap(*arguments: Any, **more: Any) -> None:
        if store.folder.is_dir() and not store.folder.is_symlink():
            rename(store.folder, tmp_path / "real")
            store.folder.symlink_to(evil)
        rename(*arguments, **more)

    monkeypatch.setattr(os, "rename", swap)
    install(store, made(2))
    assert list(evil.iterdir()) == []
    assert len(list((tmp_path / "real" / "versions").iterdir())) == 2


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_mixing_two_genuine_bundles_byte_for_byte_gives_none(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    one, two = made(1), _by_another_key(key) if key is OTHER else made(2)
    store = store_in(tmp_path / "bundles", trusted=(PUBLIC, OTHER_PUBLIC))
    for cut in (8, 40, 104, 108, 200, _body_at(one)):
        mixed = one[:cut] + two[cut:]
        if mixed in (one, two):
            continue
        if key is OTHER and cut == _body_at(one):
            continue  # the same files under another signature: nothing was mixed
        with pytest.raises(BundleError):
            install(store, mixed)


def test_there_are_far_more_than_sixty_attacks() -> None:
    assert len(BYTES) + len(MANIFESTS) + len(RULES) * 3 + len(PROOFS) + len(TAMPERED) >= 120
