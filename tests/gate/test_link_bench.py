"""`cordon bench link` reads and writes every type of frame."""

import json

import pytest

from bench.link_bench import gate_frames, main, robot_frames
from edge.gate.fields import FORMS


def test_the_measured_frames_are_every_type_of_both_sides() -> None:
    assert {type(message) for message in robot_frames()} == {form.kind for form in FORMS["R"]}
    assert {type(message) for message in gate_frames()} == {form.kind for form in FORMS["G"]}


def test_the_last_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1", "--count", "50"]) == 0
    rates = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(rates) == {
        f"{what}_{side}_mix{end}" for what in ("decode", "encode") for side in ("robot", "gate") for end in ("", "_twice")
    }
    assert min(rates.values()) > 1000
