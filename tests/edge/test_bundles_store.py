"""Installing, switching, going back, rotating keys, and the words of the command, with the golden inputs really run."""

from __future__ import annotations

import fcntl
import json
import os
import struct
from pathlib import Path

import pytest
from bundles_kit import TRUSTED, activate, agree, bundle_path, digest, inspector_config, install, made, opened, store_in, write
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny import KEY, PUBLIC, TinyBundle

from edge.bundle import save_bundle
from edge.bundles import folder as files
from edge.bundles.opening import open_configured, open_spare
from edge.bundles.proof import prover
from edge.cli import main
from edge.errors import BundleContentError, BundlePolicyError, EngineTrustError, KnownAnswerError, StoreError
from edge.keys import new_key

NEW = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
NEW_PUBLIC = NEW.public_key().public_bytes_raw().hex()
CAUSE = KnownAnswerError("no", remedy="none")


def test_what_is_installed_is_what_was_verified_and_not_in_use_yet(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    name = install(store, made(1))
    assert bundle_path(store, name).read_bytes() == made(1)
    assert store.state().active == ""
    before = digest(store.folder / "state.json")
    assert store.install(tmp_path / "bundles.source") == (store.open(name), False)
    assert digest(store.folder / "state.json") == before


def test_a_switch_remembers_the_way_back_and_lifts_the_floor_to_it(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    for version in (1, 2, 5):
        activate(store, made(version))
    state = store.state()
    assert (state.active, state.previous, state.floor, state.highest) == (opened(5).hash, opened(2).hash, 2, 5)
    assert [event.action for event in state.history] == ["install", "activate"] * 3


def test_an_older_one_needs_a_reason_that_is_kept(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    old = install(store, made(1))
    activate(store, made(3))
    store.activate(old, agree(store), downgrade="version 3 rejects too much")
    state = store.state()
    assert (state.active, state.floor, state.highest) == (old, 3, 3)
    assert state.exempt == {old: "version 3 rejects too much"}
    assert state.history[-1].reason == "version 3 rejects too much"
    assert open_configured(inspector_config(store)).hash == old
    with pytest.raises(BundlePolicyError, match="older"):
        install(store, made(2))


def test_going_back_happens_once(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    activate(store, made(1))
    activate(store, made(2))
    assert store.rollback(agree(store), reason="scratches").hash == opened(1).hash
    assert store.state().history[-1].reason == "scratches"
    with pytest.raises(BundlePolicyError, match="no bundle to go back to"):
        store.rollback(agree(store), reason="more")
    assert activate(store, made(2)) == store.state().active


def test_a_bundle_signed_anew_keeps_its_hash_and_the_old_key_can_be_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_key(tmp_path / "new.key")
    capsys.readouterr()
    both = store_in(tmp_path / "bundles")
    name = activate(both, made(1))
    source, out = write(tmp_path / "old.cordon", made(1)), tmp_path / "new.cordon"
    words = ["bundle", "resign", str(source), "--key", PUBLIC, "--signing-key", str(tmp_path / "new.key"), "--out", str(out)]
    assert main(words) == 0
    public = capsys.readouterr().out.split()[2].rstrip(":")
    assert main(words) == 1
    after = store_in(tmp_path / "bundles", trusted=(*TRUSTED, public), revoked_keys=TRUSTED)
    with pytest.raises(BundlePolicyError, match="revoked key"):
        open_configured(inspector_config(after))
    assert after.install(out)[0].hash == name
    assert open_configured(inspector_config(after)).signed_by == public
    assert after.state().active == name


def test_a_damaged_file_is_mended_by_installing_it_again(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    name = activate(store, made(1))
    write(bundle_path(store, name), b"bad sector")
    assert install(store, made(1)) == name
    assert open_configured(inspector_config(store)).hash == name


def test_a_full_disk_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(tmp_path / "bundles")
    monkeypatch.setattr(files, "free_bytes", lambda _: len(made(1)) + 64 * 1024 * 1024 - 1)
    with pytest.raises(StoreError, match="no room"):
        install(store, made(1))
    assert store.installed() == ()


def test_two_commands_do_not_change_the_store_at_once(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    activate(store, made(1))
    with (store.folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another command"):
            install(store, made(2))
        assert open_configured(inspector_config(store)).hash == opened(1).hash


def test_the_inspectors_account_can_read_whatever_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        store = store_in(tmp_path / "bundles")
        name = activate(store, made(1))
    finally:
        os.umask(mask)
    for path in (store.folder, bundle_path(store, name).parent):
        assert path.stat().st_mode & 0o777 == 0o755
    for path in (store.folder / "state.json", bundle_path(store, name)):
        assert path.stat().st_mode & 0o777 == 0o644


def test_the_inspectors_account_can_read_whatever_rights_the_parent_hands_down(tmp_path: Path) -> None:
    entries = ((0x01, 7, 0xFFFFFFFF), (0x04, 5, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF))  # user rwx, group r-x, others nothing
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries))
    except OSError:
        pytest.skip("this file system has no access control lists")
    files.make_readable(str(tmp_path / "bundles"))
    assert (tmp_path / "bundles").stat().st_mode & 0o777 == files.FOLDER_MODE


def test_the_way_back_is_taken_only_where_it_is_allowed_and_the_bundle_is_to_blame(tmp_path: Path) -> None:
    store = store_in(tmp_path / "bundles")
    activate(store, made(1))
    assert open_spare(inspector_config(store), CAUSE) is None
    activate(store, made(2))
    spare = open_spare(inspector_config(store), CAUSE)
    assert spare is not None
    assert spare[0].hash == opened(1).hash
    assert "judges in its place" in str(spare[1])
    for changes in (
        {"fallback": False},
        {"min_version": 2},
        {"revoked_bundles": (opened(1).hash,)},
        {"revoked_keys": TRUSTED},
        {"trusted": (NEW_PUBLIC,)},
    ):
        assert open_spare(inspector_config(store_in(tmp_path / "bundles", **changes)), CAUSE) is None
    for cause in (StoreError("no", remedy="none"), EngineTrustError("no", remedy="none")):
        assert open_spare(inspector_config(store), cause) is None
    write(bundle_path(store, opened(1).hash), made(2))
    assert open_spare(inspector_config(store), BundleContentError("no", remedy="none")) is None


CONFIG = """
[gate]
port = "/dev/robot"
records = "{folder}/records.db"
socket = "{folder}/gate.sock"
{gate}
[inspector]
trusted_keys = ["{key}"]
threads = 1
[inspector.bundles]
folder = "{folder}/bundles"
proof_s = {limit}
[[inspector.camera]]
name = "cam"
endpoint = "ipc://{folder}/cam"
"""


def _config(folder: Path, *, gate: str = "", limit: float = 60.0) -> list[str]:
    path = folder / "cordon.toml"
    path.write_text(CONFIG.format(folder=folder, key=PUBLIC, gate=gate, limit=limit))
    return ["--config", str(path)]


def test_the_words_from_install_to_rollback_with_golden_inputs_really_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(tmp_path)
    save_bundle(made(1), tmp_path / "1.cordon")
    save_bundle(made(2), tmp_path / "2.cordon")
    TinyBundle(version=3, promised={"T5": (0.01, 0.6)}).save(tmp_path / "3.cordon", KEY)
    names = []
    for number in (1, 2, 3):
        assert main(["bundle", "install", str(tmp_path / f"{number}.cordon"), *config]) == 0
        names.append(capsys.readouterr().out.split()[-1])
    assert main(["bundle", "status", *config]) == 1
    assert main(["bundle", "activate", names[0], *config]) == 0
    assert "6 golden inputs agreed on openvino" in capsys.readouterr().out
    assert main(["bundle", "activate", names[1], *config]) == 0
    capsys.readouterr()
    assert main(["bundle", "activate", names[2], *config]) == 1
    assert "promises bad 0.6000" in capsys.readouterr().err
    assert main(["bundle", "list", *config]) == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "active" in listed[names[1]]
    assert "way back" in listed[names[0]]
    assert main(["bundle", "rollback", "--reason", " ", *config]) == 1
    assert main(["bundle", "activate", "zzzzzz", *config]) == 1
    assert main(["bundle", "remove", names[2], *config]) == 0
    capsys.readouterr()
    assert main(["bundle", "status", "--json", *config]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"]["active"][:12], told["trouble"]) == (names[1], "")


def test_golden_inputs_that_take_too_long_or_crash_are_a_refusal(tmp_path: Path) -> None:
    config = Path(_config(tmp_path)[1])
    name = install(store_in(tmp_path / "bundles"), made(1))
    with pytest.raises(KnownAnswerError, match="not through in time"):
        prover(config, 0.01)(name)
    with pytest.raises(KnownAnswerError, match="cannot read the configuration"):
        prover(tmp_path / "none.toml", 60)(name)


def test_a_bundle_without_a_typology_of_the_recipes_is_not_activated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_text('[[recipe]]\nname = "R1"\n[[recipe.weld]]\nname = "W1"\ntypology = "T9"\n')
    config = _config(tmp_path, gate=f'recipes = "{tmp_path}/recipe.toml"')
    name = install(store_in(tmp_path / "bundles"), made(1))
    assert main(["bundle", "activate", name[:12], *config]) == 1
    assert "T9" in capsys.readouterr().err


def test_without_a_store_the_words_say_what_to_configure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(tmp_path)
    path = Path(config[1])
    path.write_text(path.read_text().replace("[inspector]", '[inspector]\nbundle = "x.cordon"'))
    assert main(["bundle", "list", *config]) == 1
    assert "one of them" in capsys.readouterr().err
    text = path.read_text()
    path.write_text(text[: text.index("[inspector.bundles]")] + text[text.index("[[inspector.camera]]") :])
    assert main(["bundle", "list", *config]) == 1
    assert "inspector.bundles is missing" in capsys.readouterr().err
