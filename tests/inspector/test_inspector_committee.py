"""A committee is loaded, proved and reported as one: the real loader and daemon on tiny real networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from cell_kit import SESSION, Cell, make_parts
from tiny import CENTRES, KEY, PUBLIC, SPEC, TinyBundle, frame_image, network, probability

from edge.bundle import Bundle, Combine, Manifest, Member, file_entries, sign_bundle, verify_bundle
from edge.contract import CONTRACT_VERSION, InspectorState, Outcome, Reason, Report
from edge.errors import BundleFormatError, EngineError, KnownAnswerError
from edge.gate.verdict import Asked, Facts, decide
from edge.inspector.engines.openvino import Compiler
from edge.inspector.heightmap.spec import MillimetreWindow
from edge.inspector.loader import Loaded, load_engines
from edge.inspector.machine import CpuMachine, prepare_and_run
from edge.inspector.scan import Scan

Start = Callable[..., Cell]
COMMITTEES: tuple[tuple[Combine, int], ...] = (("mean", 3), ("weighted", 2), ("weighted", 3), ("vote", 2), ("vote", 3))

CONFIG = "c" * 64


def signed(bundle: TinyBundle, change: Callable[[Manifest], Manifest] = lambda manifest: manifest) -> Bundle:
    manifest = change(bundle.manifest())
    manifest = msgspec.structs.replace(manifest, files=file_entries(bundle.files))
    return verify_bundle(sign_bundle(manifest, bundle.files, KEY), (PUBLIC,))


def loaded(bundle: Bundle) -> Loaded:
    return load_engines(bundle, CpuMachine(threads=1), progress=lambda _: None)


def facts(report: Report, state: InspectorState) -> Facts:
    asked = Asked(session=SESSION, sequence=7, part="P1", weld="W1", typology="T2", by="trigger")
    return Facts(
        now_ns=report.scored_ns,
        cutoff_ns=report.scored_ns + 1,
        session=SESSION,
        asked=asked,
        report=report,
        inspector=msgspec.structs.replace(state, config=CONFIG),
        inspector_alive=True,
        configs=(CONFIG,),
        pinned="",
        store_healthy=True,
        latched=(),
        plan=None,
        challenge=None,
    )


@pytest.mark.parametrize(("how", "members"), COMMITTEES)
def test_a_committees_golden_answers_are_its_combined_score(how: Combine, members: int) -> None:
    committee = TinyBundle(members=members, combine=how, spread=12.0)
    assert loaded(signed(committee)).known_answers == 6


@pytest.mark.parametrize(("how", "members"), COMMITTEES)
def test_a_committee_frame_reports_every_member_and_one_score(start: Start, how: Combine, members: int) -> None:
    bundle = TinyBundle(members=members, combine=how, spread=4.0)
    cell = start(bundle)
    image = frame_image(61, seed=9)
    report = cell.judge(*make_parts(image))
    own = [probability(image, centre=CENTRES["T2"] + 4.0 * i, sign=1) for i in range(members)]
    assert (report.reason, report.members_expected) == (Reason.OK, members)
    assert report.members == pytest.approx(own, abs=1e-4)
    assert report.score == pytest.approx(bundle.truth("T2", image), abs=1e-4)


@pytest.mark.parametrize(("gray", "outcome", "votes"), [(50, Outcome.ACCEPT, 0), (62, Outcome.ACCEPT, 1), (70, Outcome.REJECT, 2)])
def test_the_gate_decides_by_the_vote(start: Start, gray: int, outcome: Outcome, votes: int) -> None:
    cell = start(TinyBundle(members=3, combine="vote", spread=6.0))
    report, state = cell.judge(*make_parts(frame_image(gray, seed=3))), cell.gate.states[-1]
    assert state.version == CONTRACT_VERSION
    assert (report.score, report.threshold) == (votes / 3, 0.5)
    assert decide(facts(report, state)).outcome is outcome


@pytest.mark.parametrize(("gray", "outcome"), [(60, Outcome.ACCEPT), (64, Outcome.REJECT)])
def test_a_tie_goes_by_how_far_the_members_are_from_their_thresholds(start: Start, gray: int, outcome: Outcome) -> None:
    cell = start(TinyBundle(members=2, combine="vote", spread=8.0))
    image = frame_image(gray, seed=3)
    report = cell.judge(*make_parts(image))
    assert decide(facts(report, cell.gate.states[-1])).outcome is outcome
    assert [badness > limit for badness, limit in zip(report.members, (0.4, 0.5), strict=True)] == [True, False]


def test_the_gate_refuses_a_committee_that_is_not_complete(start: Start) -> None:
    cell = start(TinyBundle(members=3))
    report = cell.judge(*make_parts())
    assert decide(facts(report, cell.gate.states[-1])).outcome is Outcome.ACCEPT
    for members in (report.members[:2], (), (*report.members, 0.0)):
        short = msgspec.structs.replace(report, members=members)
        decision = decide(facts(short, cell.gate.states[-1]))
        assert (decision.outcome, decision.reason) == (Outcome.REJECT, Reason.SCORE_INVALID)


@pytest.mark.parametrize("named", ["mean", "weighted"])
def test_a_bundle_whose_golden_answers_follow_another_rule_is_refused(named: Combine) -> None:
    committee = TinyBundle(members=3, combine="vote", spread=18.0)

    def renamed(manifest: Manifest) -> Manifest:
        typologies = tuple(msgspec.structs.replace(typology, combine=named) for typology in manifest.typologies)
        return msgspec.structs.replace(manifest, typologies=typologies)

    assert loaded(signed(committee)).known_answers == 6
    with pytest.raises(KnownAnswerError, match="T2/bad of T2 gives another answer") as caught:
        loaded(signed(committee, renamed))
    assert "T2-0 0." in str(caught.value)


def with_members_scores(bundle: TinyBundle, shift: float = 0.0) -> Callable[[Manifest], Manifest]:
    """Golden inputs that promise what each member says; the last member's by `shift` too much."""

    def change(manifest: Manifest) -> Manifest:
        typologies = []
        for typology in manifest.typologies:
            golden = []
            for one in typology.golden:
                image = np.frombuffer(bundle.files[one.file], np.uint8).reshape(one.shape)
                own = [probability(image, centre=CENTRES[typology.name] + i * bundle.spread, sign=1) for i in range(bundle.members)]
                own[-1] = abs(own[-1] - shift)
                golden.append(msgspec.structs.replace(one, members=tuple(own)))
            typologies.append(msgspec.structs.replace(typology, golden=tuple(golden)))
        return msgspec.structs.replace(manifest, typologies=tuple(typologies))

    return change


def test_a_member_that_errs_behind_a_right_vote_is_found_by_its_own_promise() -> None:
    def voters() -> TinyBundle:
        return TinyBundle(members=3, combine="vote", spread=2.0)

    whole = voters()
    assert loaded(signed(whole, with_members_scores(whole))).known_answers == 6
    broken = voters()
    broken.files["T5-2.onnx"] = network(centre=CENTRES["T5"] + 14, sign=1.0)
    assert loaded(signed(broken)).known_answers == 6, "two of three still vote right"
    with pytest.raises(KnownAnswerError, match="T5/bad") as caught:
        loaded(signed(broken, with_members_scores(broken)))
    assert "T5-2 0." in str(caught.value)


def test_one_members_promise_off_by_more_than_the_tolerance_is_refused() -> None:
    bundle = TinyBundle(members=2)
    with pytest.raises(KnownAnswerError, match="T2/bad"):
        loaded(signed(bundle, with_members_scores(bundle, shift=0.03)))


def test_golden_inputs_promise_for_every_member_or_for_none() -> None:
    typology = TinyBundle(members=2).manifest().typologies[0]
    golden = tuple(msgspec.structs.replace(one, members=(0.5,)) for one in typology.golden)
    with pytest.raises(BundleFormatError, match="members' scores in golden"):
        msgspec.structs.replace(typology, golden=golden)


def test_members_share_one_prepared_heightmap() -> None:
    judge = loaded(signed(TinyBundle(members=3))).judges["T2"]
    assert all(np.shares_memory(engine.input, judge.preparation.data) for engine in judge.engines)


def test_typologies_that_only_normalise_differently_share_one_preparation() -> None:
    def normalised(manifest: Manifest) -> Manifest:
        first, second = manifest.typologies
        spec = msgspec.structs.replace(first.heightmap, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        return msgspec.structs.replace(manifest, typologies=(first, msgspec.structs.replace(second, heightmap=spec)))

    def narrower(manifest: Manifest) -> Manifest:
        first, second = manifest.typologies
        spec = msgspec.structs.replace(first.heightmap, window=MillimetreWindow(low_mm=0.0, high_mm=9.0))
        return msgspec.structs.replace(manifest, typologies=(first, msgspec.structs.replace(second, heightmap=spec)))

    assert len(loaded(signed(TinyBundle(), normalised)).preparations) == 1
    assert len(loaded(signed(TinyBundle(), narrower)).preparations) == 2


# -- embeddings


def test_an_embedding_is_bound_once_and_changes_no_score() -> None:
    plain, rich = TinyBundle(members=2), TinyBundle(members=2, embedding=True)
    image = frame_image(55, seed=4)
    scores = []
    for bundle in (plain, rich):
        box = loaded(signed(bundle))
        judge = box.judges["T2"]
        prepare_and_run(box.machine, Scan(image=image, kind="heightmap"), (judge.preparation,), judge.engines)
        scores.append(judge.score())
        seen = judge.engines[0].embedding
        box.machine.warm(judge.engines)
        assert judge.engines[0].embedding is seen
    assert scores[0] == scores[1]
    assert judge.engines[1].embedding is None
    assert judge.engines[0].embedding == pytest.approx(image.mean(axis=0), abs=1e-3)


@pytest.fixture
def compiler() -> Compiler:
    return Compiler(threads=1)


def tiny_member(**changes: Any) -> Member:
    values = {"name": "m", "file": "m.onnx", "architecture": "tiny", "input": "heightmap", "output": "scores", "classes": ("bad", "good")}
    return Member(**{**values, **changes})


@pytest.mark.parametrize(
    ("declared", "given"),
    [("embedding", False), (None, True), ("features", True)],
    ids=["declared and not given", "given and not declared", "another name"],
)
def test_an_embedding_is_there_exactly_when_the_manifest_says_so(compiler: Compiler, declared: str | None, given: bool) -> None:
    onnx = network(centre=60, sign=1, embedding=given)
    with pytest.raises(EngineError, match="not what the manifest says"):
        compiler.compile(tiny_member(embedding=declared), onnx, np.zeros((SPEC.height, SPEC.width), np.uint8))


def test_scores_and_embedding_are_not_confused(compiler: Compiler) -> None:
    member = tiny_member(output="embedding", embedding="scores")
    with pytest.raises(EngineError, match="not what the manifest says"):
        compiler.compile(member, network(centre=60, sign=1, embedding=True), np.zeros((SPEC.height, SPEC.width), np.uint8))


def test_a_committee_with_embeddings_is_judged_as_any_other(start: Start) -> None:
    report = start(TinyBundle(members=2, embedding=True)).judge(*make_parts())
    assert (report.reason, len(report.members), report.members_expected) == (Reason.OK, 2, 2)
