"""Engines resident on the GPU: side by side on streams, each answer its own frame's, and nothing that could take long on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
import runtime_kit
from runtime_kit import SHAPE, Line, build, expected, member

from edge.bundle import MapOutput, Member
from edge.engines.backend import Backend
from edge.errors import EngineError
from edge.inspector.cuda.device import Device

Built = tuple[Member, bytes]


machine, preset, backend, device = runtime_kit.machine, runtime_kit.preset, runtime_kit.backend, runtime_kit.device


@pytest.fixture
def line(device: Device, backend: Backend) -> Iterator[Line]:
    line = Line.on(device, backend)
    yield line
    line.runtime.close()


def test_every_engine_answers_about_the_frame_just_sent(line: Line) -> None:
    centres = [40.0, 60.0, 80.0, 100.0, 120.0]
    for number, centre in enumerate(centres):
        line.add(build(line.backend, f"m{number}", centre=centre))
    line.runtime.ready(line.stream)
    for gray in (30, 70, 110, 50):
        image = line.judge(gray)
        for engine, centre in zip(line.engines, centres, strict=True):
            assert np.allclose(engine.output, expected(image, centre), atol=2e-3)


def test_an_embedding_lies_beside_the_scores(line: Line) -> None:
    plain, telling = line.add(build(line.backend, "a")), line.add(build(line.backend, "b", embedding=True))
    line.runtime.ready(line.stream)
    image = line.judge(64)
    assert plain.embedding is None
    assert telling.embedding is not None
    assert np.allclose(telling.embedding, image.mean(axis=0), atol=0.05)
    assert np.allclose(telling.output, expected(image, 60.0), atol=2e-3)


@pytest.mark.parametrize("embedding", [False, True])
def test_a_map_lies_behind_the_scores_and_goes_with_them(line: Line, embedding: bool) -> None:
    plain = line.add(build(line.backend, "a"))
    telling = line.add(build(line.backend, "b", embedding=embedding, maps=True))
    line.runtime.ready(line.stream)
    assert plain.map is None
    for gray in (64, 50):
        image = line.judge(gray)
        blocks = image.astype(np.float32).reshape(4, SHAPE[0] // 4, 6, SHAPE[1] // 6).mean(axis=(1, 3))
        assert telling.map is not None
        assert telling.map.shape == (4, 6)
        assert np.allclose(telling.map, (blocks - 60.0) / 4 / 24, atol=1e-3)
        assert np.allclose(telling.output, expected(image, 60.0), atol=2e-3)
    line.runtime.close()
    assert np.isnan(telling.map).all()


def test_only_the_engines_asked_for_run(line: Line) -> None:
    first, second, third = (line.add(build(line.backend, name), group) for name, group in (("a", "T2"), ("b", "T5"), ("c", "T2")))
    line.runtime.ready(line.stream)
    before = line.judge(64)
    line.judge(70, [second])
    for engine in (first, third):
        assert np.allclose(engine.output, expected(before, 60.0), atol=2e-3)
    image = line.judge(58, [first, third])
    for engine in (first, third):
        assert np.allclose(engine.output, expected(image, 60.0), atol=2e-3)


def test_members_of_a_group_run_side_by_side_and_groups_start_apart(line: Line) -> None:
    group = [line.add(build(line.backend, f"m{number}")) for number in range(5)]
    other = line.add(build(line.backend, "other"), "T5")
    lanes = [engine.lane for engine in group]
    assert len(set(map(id, lanes[:4]))) == 4
    assert lanes[4] is lanes[0]
    assert other.lane is lanes[1]


def test_one_copy_brings_a_group(line: Line) -> None:
    for name, group in (("a", "T2"), ("b", "T5"), ("c", "T2"), ("d", "T5")):
        line.add(build(line.backend, name), group)
    line.runtime.ready(line.stream)
    first, second, third, fourth = line.engines
    for engines, copies in (((first, third), 1), ((second, fourth), 1), (tuple(line.engines), 1), ((first, fourth), 2)):
        assert len(line.runtime._plan(engines).outputs) == copies


def test_its_name_says_what_judged(line: Line, backend: Backend) -> None:
    major, minor = line.device.compute_capability
    assert line.runtime.name == f"{backend.name} {backend.version} {line.device.name} sm_{major}{minor}"


def test_engines_are_launched_as_graphs(line: Line) -> None:
    engine = line.add(build(line.backend, "a"))
    line.runtime.ready(line.stream)
    assert engine.graph
    assert line.runtime.notes == []


def test_without_graphs_the_answers_are_the_same(device: Device, backend: Backend) -> None:
    line = Line.on(device, backend, graphs=False)
    engine = line.add(build(backend, "a"))
    line.runtime.ready(line.stream)
    image = line.judge(64)
    assert not engine.graph
    assert np.allclose(engine.output, expected(image, 60.0), atol=2e-3)


def test_one_stream_is_enough(device: Device, backend: Backend) -> None:
    line = Line.on(device, backend, streams=1)
    for number in range(3):
        line.add(build(backend, f"m{number}", centre=50.0 + number))
    line.runtime.ready(line.stream)
    image = line.judge(51)
    for number, engine in enumerate(line.engines):
        assert np.allclose(engine.output, expected(image, 50.0 + number), atol=2e-3)


def test_a_runtime_takes_no_engine_once_it_is_ready(line: Line) -> None:
    built = build(line.backend, "a")
    line.add(built)
    line.runtime.ready(line.stream)
    with pytest.raises(ValueError, match="no more engines"):
        line.add(built)


def test_an_input_at_an_odd_address_is_a_mistake(line: Line) -> None:
    with pytest.raises(ValueError, match="no address"):
        line.add(build(line.backend, "a"), input_address=line.heightmap.address + 16)


WRONG: dict[str, tuple[Callable[[], Member], dict[str, Any], str]] = {
    "input": (lambda: changed(input="image"), {}, "input heightmap"),
    "output": (lambda: changed(output="logits"), {}, "output scores"),
    "classes": (lambda: changed(classes=("bad", "good", "odd")), {}, r"\(1, 2\) FLOAT"),
    "embedding": (lambda: changed(embedding="features"), {}, "is not what the manifest says"),
    "map": (lambda: changed(map=MapOutput(name="map", shape=(4, 6))), {}, r"\(1, 4, 6\) FLOAT"),
    "shape": (lambda: member("a"), {"shape": (SHAPE[0], SHAPE[1] + 8)}, r"\(1, 1, 16, 24\) UINT8"),
}


def changed(**values: Any) -> Member:
    return msgspec.structs.replace(member("a"), **values)


@pytest.mark.parametrize("what", WRONG)
def test_an_engine_that_is_not_what_the_manifest_says_is_refused(line: Line, what: str) -> None:
    promised, settings, seen = WRONG[what]
    _, data = build(line.backend, "a")
    with pytest.raises(EngineError, match=seen) as caught:
        line.add((promised(), data), **settings)
    assert "cordon engine build" in str(caught.value)


def test_an_embedding_that_nobody_promised_is_refused(line: Line) -> None:
    _, data = build(line.backend, "a", embedding=True)
    with pytest.raises(EngineError, match="is not what the manifest says"):
        line.add((member("a"), data))


@pytest.mark.parametrize("data", [b"", b"no engine at all" * 300], ids=["empty", "text"])
def test_what_is_no_engine_is_refused_with_the_runtimes_words(line: Line, data: bytes) -> None:
    with pytest.raises(EngineError, match="cordon engine build"):
        line.add((member("a"), data))


def test_a_truncated_engine_is_refused(line: Line) -> None:
    promised, data = build(line.backend, "a")
    with pytest.raises(EngineError, match="cordon engine build"):
        line.add((promised, data[: len(data) // 2]))


def test_it_closes_in_order_and_makes_room_for_the_next(line: Line, backend: Backend) -> None:
    line.add(build(backend, "a"))
    line.runtime.ready(line.stream)
    line.judge(64)
    line.runtime.close()
    line.runtime.close()
    again = Line.on(line.device, backend)
    engine = again.add(build(backend, "a"))
    again.runtime.ready(again.stream)
    image = again.judge(66)
    assert np.allclose(engine.output, expected(image, 60.0), atol=2e-3)
    again.runtime.close()
