"""The inspector takes the store's active bundle, and the one before it, aloud, when that cannot be used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cell_kit import FakeGate, listen, make_config
from tiny import PUBLIC, TinyBundle

from edge.bundle import open_bundle
from edge.bundles.policy import Policy
from edge.bundles.starts import TRIES
from edge.bundles.state import Proof
from edge.bundles.store import FILE, VERSIONS, Store
from edge.config import BundlesConfig, Config
from edge.contract import Reason
from edge.errors import BundleError, BundlePolicyError, KnownAnswerError
from edge.inspector.daemon import InspectorDaemon

Begin = Callable[[Config], tuple[InspectorDaemon, FakeGate]]


def _config(folder: Path, **changes: object) -> Config:
    return make_config(folder, bundle=None, bundles=BundlesConfig(folder=folder / "bundles", **changes))


def _put(config: Config, tiny: TinyBundle) -> str:
    """Install and activate, whatever the golden inputs would say."""
    path = tiny.save(config.gate.socket.with_name(f"{tiny.version}.cordon"))
    name, version = open_bundle(path, (PUBLIC,)).hash, tiny.version
    store = Store(policy=Policy.of(config.inspector))
    store.install(path)
    store.activate(name, lambda _: Proof(version=version, answers=1, backend="nobody"))
    return name


@pytest.fixture
def begin() -> Iterator[Begin]:
    made: list[InspectorDaemon | FakeGate] = []

    def start(config: Config) -> tuple[InspectorDaemon, FakeGate]:
        made.append(gate := listen(config.gate.socket))
        made.append(daemon := InspectorDaemon(config))
        end = time.monotonic() + 10
        while not (gate.states and gate.states[-1].typologies == ("T2", "T5")):
            assert time.monotonic() < end
            daemon.step()
            gate.poll()
        return daemon, gate

    yield start
    for each in made:
        each.close()


FALSE = TinyBundle(version=2, promised={"T5": (0.01, 0.6)})


def test_the_active_bundle_judges(begin: Begin, tmp_path: Path) -> None:
    config = _config(tmp_path)
    _put(config, TinyBundle())
    name = _put(config, TinyBundle(version=2))
    _, gate = begin(config)
    assert (gate.states[-1].bundle, gate.states[-1].bundle_version) == (name, 2)
    assert all(state.fault_reason is None for state in gate.states)


def test_when_it_cannot_be_proved_the_one_before_judges_and_the_gate_hears_it(begin: Begin, tmp_path: Path) -> None:
    config = _config(tmp_path)
    name = _put(config, TinyBundle())
    _put(config, FALSE)
    _, gate = begin(config)
    assert (gate.states[-1].bundle, gate.states[-1].fault_reason) == (name, None)
    told = [state.fault for state in gate.states if state.fault_reason is Reason.BUNDLE_FAULT]
    assert len(told) == 1
    assert "judges in its place" in told[0]
    assert (tmp_path / "inspector.starts").read_text() == "", "it was refused with a reason, and each start may say that reason anew"


def test_when_its_file_was_altered_the_one_before_judges(begin: Begin, tmp_path: Path) -> None:
    config = _config(tmp_path)
    name = _put(config, TinyBundle())
    path = tmp_path / "bundles" / VERSIONS / _put(config, TinyBundle(version=2)) / FILE
    path.write_bytes(path.read_bytes()[:-1])
    assert begin(config)[1].states[-1].bundle == name


@pytest.mark.parametrize("changes", [{"fallback": False}, {"min_version": 2}])
def test_where_the_one_before_is_not_allowed_nothing_judges(tmp_path: Path, changes: dict[str, object], begin: Begin) -> None:
    _put(_config(tmp_path), TinyBundle())
    _put(_config(tmp_path), FALSE)
    with pytest.raises(KnownAnswerError, match="T5/bad"):
        begin(_config(tmp_path, **changes))


def test_a_revoked_bundle_is_not_fallen_back_to(tmp_path: Path, begin: Begin) -> None:
    old = _put(_config(tmp_path), TinyBundle())
    new = _put(_config(tmp_path), TinyBundle(version=2))
    with pytest.raises(BundlePolicyError, match="is revoked"):
        begin(_config(tmp_path, revoked_bundles=(old, new)))


def test_a_damaged_state_stops_everything(tmp_path: Path, begin: Begin) -> None:
    config = _config(tmp_path)
    _put(config, TinyBundle())
    _put(config, TinyBundle(version=2))
    path = tmp_path / "bundles" / "state.json"
    path.write_bytes(path.read_bytes().replace(b'"floor":1', b'"floor":0'))
    with pytest.raises(BundleError, match="cannot be trusted"):
        begin(config)


@pytest.mark.parametrize("died", [TRIES - 1, TRIES])
def test_a_bundle_that_ended_the_process_again_and_again_is_passed_over(tmp_path: Path, begin: Begin, died: int) -> None:
    config = _config(tmp_path)
    old = _put(config, TinyBundle())
    new = _put(config, TinyBundle(version=2))
    starts = tmp_path / "inspector.starts"
    starts.write_text(f"{new} {died}")
    _, gate = begin(config)
    assert gate.states[-1].bundle == (old if died == TRIES else new)
    assert starts.read_text() == (f"{new} {died}" if died == TRIES else "")
    assert any("ended before it was proved" in state.fault for state in gate.states) == (died == TRIES)
