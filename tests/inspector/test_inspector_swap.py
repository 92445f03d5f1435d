"""A bundle takes another's place while the inspector runs: announced before its first report, and never where a trigger would notice."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
import zmq
from cell_kit import SESSION, Cell, listen, make_config, make_parts
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny import CENTRES, PUBLIC, TinyBundle, frame_image, network, probability

from edge.bundle import Bundle, open_bundle
from edge.bundles.policy import Policy
from edge.bundles.starts import TRIES
from edge.bundles.state import Proof
from edge.bundles.store import Store
from edge.config import BundlesConfig, Config, GpuConfig
from edge.contract import FrameEvent, InspectorState, Outcome, Reason, Report, Settled, TriggerId, encode
from edge.inspector.cuda.leave import gave_up
from edge.inspector.daemon import InspectorDaemon
from edge.inspector.frame import FrameTrigger, encode_alive
from edge.inspector.successor import END_S, Restart

BETWEEN = 65
"""A gray that the first bundle calls bad and the second good."""
SHIFTED = CENTRES["T2"] + 10
BUDGET_MS = 30_000.0
"""Longer than loading takes, so that a trigger that opens meanwhile stays open."""
Begin = Callable[..., Cell]


def second(version: int = 2, *, honest: bool = True, maps: float | None = None) -> TinyBundle:
    """A bundle whose T2 is bad only above a gray that is 10 higher; not `honest`: it promises what the first one gave."""
    images = frame_image(40, seed=1), frame_image(80, seed=2)
    centre = SHIFTED if honest else CENTRES["T2"]
    good, bad = (probability(image, centre=centre, sign=1.0) for image in images)
    files = {"T2-0.onnx": network(centre=SHIFTED, sign=1.0, maps=maps)}
    return TinyBundle(version=version, files=files, promised={"T2": (good, bad)}, maps=maps, router=False)


def put(config: Config, tiny: TinyBundle) -> str:
    """Install and activate, whatever the golden inputs would say."""
    path = tiny.save(config.gate.socket.with_name(f"{tiny.version}.cordon"))
    name, version = open_bundle(path, (PUBLIC,)).hash, tiny.version
    store = Store(policy=Policy.of(config.inspector))
    store.install(path)
    store.activate(name, lambda _: Proof(version=version, answers=1, backend="nobody"))
    return name


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """`begin(reread, **inspector settings)`: a READY cell whose store has version 1 active.

    Loading hardly pauses for open triggers, no step waits long for its heartbeat, and what a frame takes at worst is looked at briefly.
    """
    monkeypatch.setattr("edge.inspector.successor.LONGEST_PAUSE_S", 0.002)
    monkeypatch.setattr("edge.inspector.announcing.HEARTBEAT_NS", 4_000_000)
    monkeypatch.setattr("edge.inspector.startup_runs.SHORT_S", 0.0)
    made: list[Cell] = []
    with zmq.Context() as context, context.socket(zmq.XPUB) as camera:
        camera.setsockopt(zmq.LINGER, 0)

        def start(reread: Callable[[Config], Config] = lambda config: config, **settings: object) -> Cell:
            bundles = BundlesConfig(folder=tmp_path / "bundles", **settings.pop("store", {}))
            made_config = make_config(tmp_path, bundle=None, bundles=bundles, **settings)
            config = msgspec.structs.replace(made_config, gate=msgspec.structs.replace(made_config.gate, budget_ms=BUDGET_MS))
            put(config, TinyBundle(router=False))
            camera.bind(config.inspector.camera[0].endpoint)
            gate = listen(config.gate.socket)
            made.append(cell := Cell(config, camera, gate, InspectorDaemon(config, None, lambda: reread(config))))
            assert camera.poll(5_000)
            assert camera.recv() == b"\x01cam"
            cell.send(*encode_alive("cam", 0, 1))
            cell.until(lambda: any(state.ready for state in gate.states))
            return cell

        yield start
        for cell in made:
            cell.close()


def announced(cell: Cell) -> str:
    return cell.gate.states[-1].bundle


def settle(cell: Cell, sequence: int = 7) -> None:
    assert cell.gate.connection is not None
    settled = Settled(TriggerId(SESSION, sequence), "cam", 1, Outcome.ACCEPT, Reason.OK)
    cell.gate.connection.send(encode(settled))


def prepared(cell: Cell) -> None:
    """Let the next bundle be loaded and proved."""
    cell.until(lambda: cell.daemon._swap._pending is not None)


def test_the_active_bundle_judges_from_its_announcement_on_without_a_restart(begin: Begin) -> None:
    cell = begin()
    first = announced(cell)
    assert cell.judge(*make_parts(frame_image(BETWEEN, seed=1), counter=1)).score > 0.5
    settle(cell)
    new = put(cell.config, second())
    cell.daemon.reload()
    cell.until(lambda: announced(cell) == new)
    report = cell.judge(*make_parts(frame_image(BETWEEN, seed=2), counter=2))
    assert (report.bundle, report.reason) == (new, Reason.OK)
    assert report.score < 0.5
    assert all(state.ready for state in cell.gate.states if state.bundle == new), "it was never not READY"
    assert cell.gate.states[-1].bundle_version == 2
    words = [message.bundle for message in cell.gate.messages if isinstance(message, InspectorState | Report) and message.bundle]
    assert words == [first] * words.count(first) + [new] * words.count(new), "each word of the new one comes after each of the old one"


def test_an_open_trigger_is_judged_by_the_bundle_that_was_announced_when_it_opened(begin: Begin) -> None:
    cell = begin()
    first, new = announced(cell), put(cell.config, second())
    cell.daemon.reload()
    cell.expect("T2", sequence=7)
    cell.tick()
    prepared(cell)
    assert announced(cell) == first, "a trigger waits for its frame"
    assert cell.judge(*make_parts(counter=1)).bundle == first
    settle(cell)
    cell.until(lambda: announced(cell) == new)


def judge(cell: Cell, sequence: int, gray: int = 40) -> Report:
    """A frame of its own for each trigger."""
    trigger = FrameTrigger(session=SESSION, sequence=sequence)
    return cell.judge(*make_parts(frame_image(gray, seed=sequence), counter=sequence, trigger=trigger))


def test_at_full_rate_the_moment_after_a_report_will_do(begin: Begin) -> None:
    cell = begin()
    first, new = announced(cell), put(cell.config, second())
    cell.daemon.reload()
    number, deadline = 0, time.monotonic() + 20
    while announced(cell) == first:
        assert time.monotonic() < deadline
        number += 1
        cell.expect("T2", sequence=number)
        cell.tick()
        bundle = announced(cell)
        assert judge(cell, number).bundle == bundle, "the bundle that was announced when it opened"
    assert judge(cell, number + 1).bundle == new


def test_a_report_that_came_before_its_trigger_is_waited_for(begin: Begin) -> None:
    cell = begin()
    first, new = announced(cell), put(cell.config, second())
    cell.daemon.reload()
    prepared_or_done = time.monotonic() + 20
    number = 0
    while announced(cell) == first and cell.daemon._swap._pending is None:
        assert time.monotonic() < prepared_or_done
        number += 1
        judge(cell, number)
    assert announced(cell) == first, "the gate keeps that report for a trigger that may yet come"
    settle(cell, number)
    cell.until(lambda: announced(cell) == new)


def test_a_bundle_that_gives_other_answers_leaves_the_old_one_judging_and_an_event(begin: Begin) -> None:
    cell = begin()
    first = announced(cell)
    put(cell.config, second(honest=False))
    cell.daemon.reload()
    cell.until(lambda: bool(cell.gate.events))
    event = cell.gate.events[0]
    assert event.reason is Reason.BUNDLE_FAULT
    assert f"{first[:12]}, version 1, goes on judging" in event.detail
    assert "KnownAnswerError" in event.detail
    assert judge(cell, 1).bundle == first
    ready = [state.ready for state in cell.gate.states]
    assert ready[ready.index(True) :] == [True] * ready.count(True), "no weld was rejected for it"
    assert cell.config.gate.socket.with_name("inspector.starts").read_text() == "", "it was refused with a reason, it killed nobody"


def test_the_next_gate_hears_that_another_bundle_judges_than_the_active_one(begin: Begin) -> None:
    cell = begin()
    put(cell.config, second(honest=False))
    cell.daemon.reload()
    cell.until(lambda: bool(cell.gate.events))
    cell.gate.close()
    cell.config.gate.socket.unlink()
    cell.daemon.step()
    cell.gate = listen(cell.config.gate.socket)
    cell.until(lambda: bool(cell.gate.states) and cell.gate.states[-1].ready)
    assert cell.gate.states[0].fault_reason is Reason.BUNDLE_FAULT
    put(cell.config, second(version=3))
    cell.daemon.reload()
    cell.until(lambda: cell.gate.states[-1].bundle_version == 3)
    assert cell.daemon._announcer.notice is None, "the active one judges again"


def test_after_a_refused_swap_a_restart_goes_back_as_it_always_does(begin: Begin) -> None:
    cell = begin()
    first = announced(cell)
    put(cell.config, second(honest=False))
    cell.daemon.reload()
    cell.until(lambda: bool(cell.gate.events))
    cell.daemon.close()
    cell.daemon = InspectorDaemon(cell.config)
    assert cell.daemon._loaded.bundle == first


RECIPES = """
[recipe.door]
weld = [{ name = "W1", typology = "T9" }]
"""


def test_what_the_recipes_need_is_needed_here_too(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "recipes.toml").write_text(RECIPES)
    cell = begin(
        lambda config: msgspec.structs.replace(config, gate=msgspec.structs.replace(config.gate, recipes=tmp_path / "recipes.toml"))
    )
    put(cell.config, second())
    cell.daemon.reload()
    cell.until(lambda: bool(cell.gate.events))
    assert "T9" in cell.gate.events[0].detail


def test_the_pinned_bundle_rules(begin: Begin) -> None:
    cell = begin(lambda config: msgspec.structs.replace(config, gate=msgspec.structs.replace(config.gate, bundle="ab" * 32)))
    put(cell.config, second())
    cell.daemon.reload()
    cell.until(lambda: bool(cell.gate.events))
    assert "gate.bundle pins another bundle" in cell.gate.events[0].detail


def test_nothing_happens_where_the_active_bundle_judges_already(begin: Begin) -> None:
    cell = begin()
    first = announced(cell)
    cell.daemon.reload()
    cell.until(lambda: cell.daemon._swap._loading)
    cell.until(lambda: not cell.daemon._swap._loading)
    assert announced(cell) == first
    assert cell.gate.events == []


def test_a_configuration_that_cannot_be_read_changes_nothing(begin: Begin) -> None:
    def broken(_config: Config) -> Config:
        raise OSError(5, "the disk is gone")

    cell = begin(broken)
    first = announced(cell)
    put(cell.config, second())
    cell.daemon.reload()
    cell.until(lambda: bool(cell.gate.events))
    assert "the disk is gone" in cell.gate.events[0].detail
    assert announced(cell) == first
    assert cell.daemon._announcer.notice is not None, "the next gate hears it too"


def with_inspector(config: Config, **changes: object) -> Config:
    return msgspec.structs.replace(config, inspector=msgspec.structs.replace(config.inspector, **changes))


def test_a_gpu_has_no_room_for_two_so_the_inspector_ends_between_triggers(begin: Begin, tmp_path: Path) -> None:
    gpu = GpuConfig(engines=tmp_path, box_keys=("ab" * 32,))
    cell = begin(lambda config: with_inspector(config, backend="tensorrt", gpu=gpu))
    put(cell.config, second())
    cell.daemon.reload()
    cell.expect("T2", sequence=1)
    cell.tick()
    prepared(cell)
    assert not cell.daemon._stopping, "a trigger waits for its frame"
    judge(cell, 1)
    settle(cell, 1)
    cell.until(lambda: cell.daemon._stopping)


def test_the_last_report_before_the_inspector_ends_reaches_the_gate(begin: Begin) -> None:
    cell = begin()
    cell.send(*make_parts(counter=1))
    end = time.monotonic() + 10
    while cell.daemon._status.state(ready=True, camera_alive=True).frames == 0:
        assert time.monotonic() < end
        cell.daemon.step()
    settle(cell)
    cell.daemon._change(Restart("a test"))
    cell.daemon.close()
    cell.gate.poll()
    assert len(cell.gate.reports) == 1, "what the gate had just sent made its kernel report no reset"


@pytest.mark.parametrize("rule", ["revoked_bundles", "revoked_keys", "trusted_keys", "min_version"])
def test_a_bundle_that_the_configuration_does_not_allow_any_more_does_not_go_on_judging(begin: Begin, rule: str) -> None:
    def forbidding(config: Config) -> Config:
        assert config.inspector.bundles is not None
        if rule == "trusted_keys":
            return with_inspector(config, trusted_keys=("ab" * 32,))
        changed = {"revoked_bundles": (first,), "revoked_keys": (PUBLIC,), "min_version": 2}[rule]
        return with_inspector(config, bundles=msgspec.structs.replace(config.inspector.bundles, **{rule: changed}))

    cell = begin(forbidding)
    first = announced(cell)
    cell.daemon.reload()
    cell.until(lambda: cell.daemon._stopping)
    assert f"the inspector ends, to be started anew: bundle {first[:12]}, which judges, is " in cell.gate.events[-1].detail


OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def test_the_same_bundle_signed_anew_goes_on_without_its_first_key(begin: Begin) -> None:
    other = OTHER.public_key().public_bytes_raw().hex()
    cell = begin(lambda config: with_inspector(config, trusted_keys=(other,)))
    both = with_inspector(cell.config, trusted_keys=(PUBLIC, other)).inspector
    Store(policy=Policy.of(both)).install(TinyBundle(router=False).save(cell.config.gate.socket.with_name("anew.cordon"), OTHER))
    cell.daemon.reload()
    cell.until(lambda: cell.daemon._swap._loading)
    cell.until(lambda: not cell.daemon._swap._loading)
    assert judge(cell, 1).reason is Reason.OK
    assert not cell.daemon._stopping
    assert cell.gate.events == []


@pytest.mark.parametrize("what", ["rolled back", "revoked"])
def test_what_was_ready_does_not_take_over_once_it_may_not(begin: Begin, what: str) -> None:
    def reread(config: Config) -> Config:
        assert config.inspector.bundles is not None
        return with_inspector(config, bundles=msgspec.structs.replace(config.inspector.bundles, revoked_bundles=revoked))

    revoked: tuple[str, ...] = ()
    cell = begin(reread)
    first, new = announced(cell), put(cell.config, second())
    cell.expect("T2", sequence=1)
    cell.tick()
    cell.daemon.reload()
    prepared(cell)
    if what == "revoked":
        revoked = (new,)
    else:
        Store(policy=Policy.of(cell.config.inspector)).rollback(lambda _: Proof(version=1, answers=1, backend="nobody"), reason="a test")
    judge(cell, 1)
    cell.daemon.reload()
    settle(cell, 1)
    cell.until(lambda: cell.daemon._swap._loading)
    cell.until(lambda: not cell.daemon._swap._loading)
    cell.tick()
    assert cell.daemon._swap._pending is None
    assert judge(cell, 2).bundle == first
    assert all(state.bundle in ("", first) for state in cell.gate.states)


def test_what_was_ready_takes_over_where_it_still_may(begin: Begin) -> None:
    cell = begin()
    new = put(cell.config, second())
    cell.expect("T2", sequence=1)
    cell.tick()
    cell.daemon.reload()
    prepared(cell)
    made = cell.daemon._swap._pending.loaded
    cell.daemon.reload()
    cell.tick()
    assert cell.daemon._swap._pending is None, "it is looked at once more"
    settle(cell, 1)
    cell.until(lambda: announced(cell) == new)
    assert cell.daemon._loaded is made, "and was not loaded again"


def test_closing_breaks_loading_off_and_counts_nothing_against_the_bundle(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def for_ever(_bundle: Bundle, _config: Config, *, progress: Callable[[str], None]) -> NoReturn:
        while True:
            progress("one more network")
            time.sleep(0.001)

    cell = begin()
    put(cell.config, second())
    monkeypatch.setattr("edge.inspector.successor.load_proved", for_ever)
    starts = cell.config.gate.socket.with_name("inspector.starts")
    cell.daemon.reload()
    cell.until(lambda: bool(starts.read_text()))
    began = time.monotonic()
    cell.daemon.close()
    assert time.monotonic() - began < END_S
    assert starts.read_text() == ""
    assert not gave_up()


def test_engines_that_judged_before_are_freed(begin: Begin) -> None:
    cell = begin()
    old = weakref.ref(cell.daemon._loaded)
    judge(cell, 1)
    settle(cell, 1)
    new = put(cell.config, second())
    cell.daemon.reload()
    cell.until(lambda: announced(cell) == new)
    cell.until(lambda: old() is None)


def test_a_gate_that_does_not_read_gets_no_report_of_a_bundle_it_was_not_told_of(begin: Begin) -> None:
    cell = begin()
    first, new = announced(cell), put(cell.config, second())
    cell.daemon.reload()
    while cell.daemon._swap._pending is None:
        while cell.daemon._gate.send(FrameEvent("cam", None, Reason.FRAME_GAP, "x" * 1000)):
            continue
        cell.daemon.step()
    for _ in range(3):
        cell.daemon.step()
    assert cell.daemon._loaded.bundle == cell.daemon._status.loaded.bundle == first
    cell.until(lambda: announced(cell) == new)
    assert cell.daemon._loaded.bundle == new


def test_asked_again_while_loading_it_looks_again_afterwards(begin: Begin) -> None:
    cell = begin()
    put(cell.config, second())
    cell.daemon.reload()
    cell.until(lambda: cell.daemon._swap._loading)
    newest = put(cell.config, second(version=3))
    cell.daemon.reload()
    cell.until(lambda: announced(cell) == newest)


def test_maps_come_from_the_bundle_that_judges(begin: Begin) -> None:
    cell = begin(explain="all")
    assert judge(cell, 1).map is None
    settle(cell, 1)
    new = put(cell.config, second(maps=1.0))
    cell.daemon.reload()
    cell.until(lambda: announced(cell) == new)
    assert judge(cell, 2).map is not None


def test_a_bundle_whose_loading_ended_the_process_three_times_is_not_tried_beside_either(begin: Begin) -> None:
    cell = begin()
    new = put(cell.config, second())
    starts = cell.config.gate.socket.with_name("inspector.starts")
    starts.write_text(f"{new} {TRIES}")
    cell.daemon.reload()
    cell.until(lambda: bool(cell.gate.events))
    assert f"{TRIES} starts with bundle {new[:12]}" in cell.gate.events[0].detail
    starts.write_text("")
    cell.daemon.reload()
    cell.until(lambda: announced(cell) == new)
    assert starts.read_text() == ""
