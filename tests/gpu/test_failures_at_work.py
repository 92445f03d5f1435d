"""What an inspector does whose GPU fails at work: the frame is refused, the gate is told, the process ends soon and can start again."""

from __future__ import annotations

import signal
import time

import failure_kit
import pytest
from failure_kit import TIMEOUT_MS, Box, inspector_lines, note, refused

from edge.contract import Reason

pytestmark = pytest.mark.soft
box, built = failure_kit.box, failure_kit.built
LIMIT_S = TIMEOUT_MS / 1000 + 1.0
MID_FRAME = 4
"""Pieces of work of a frame that still run."""
LOST = {
    "illegal address": (f"sticky:700:after={MID_FRAME}", "an illegal memory access was encountered"),
    "misaligned address": (f"sticky:716:after={MID_FRAME}", "misaligned address"),
    "launch failure": (f"sticky:719:after={MID_FRAME}", "unspecified launch failure"),
    "uncorrectable ECC error": (f"sticky:214:after={MID_FRAME}", "uncorrectable ECC error encountered"),
    "hung kernel": (f"hang:after={MID_FRAME}", "judging a frame does not finish on the GPU (seen: nothing after 200 ms)"),
    "GPU gone in a frame": (f"vanish:after={MID_FRAME}", "unknown error"),
    "graph refused": ("cuGraphLaunch:719", "cuGraphLaunch failed"),
    "kernel refused": ("cuLaunchKernel:701", "a heightmap's kernels cannot be queued"),
    "event refused": ("cuEventRecord:999", "unknown error"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_gpu_that_fails_in_a_frame_ends_the_inspector(box: Box, name: str, request: pytest.FixtureRequest) -> None:
    fault, said = LOST[name]
    station = box.start().ready()
    assert station.judge().reason is Reason.OK
    station.inject(f"driver {fault}")
    station.send()
    ended = station.ended()
    ended.require_orderly(1)
    assert ended.said.startswith("cordon run: GpuError: ")
    assert said in ended.said
    assert ended.seconds < LIMIT_S
    assert [report.reason for report in box.gate.reports] == [Reason.OK, Reason.GPU_FAULT]
    assert box.gate.states[-1].fault_reason is Reason.GPU_FAULT
    note(request, name, fault, ended, "GPU_FAULT")


@pytest.mark.parametrize("fault", ["vanish", "hang"])
def test_a_gpu_that_is_gone_is_found_when_a_trigger_opens(box: Box, fault: str, request: pytest.FixtureRequest) -> None:
    station = box.start().ready()
    assert station.judge().reason is Reason.OK
    station.inject(f"driver {fault}")
    station.expect()
    ended = station.ended()
    ended.require_orderly(1)
    assert "warming the engines" in ended.said or "networks could not be started" in ended.said
    assert ended.seconds < LIMIT_S
    assert box.gate.states[-1].fault_reason is Reason.GPU_FAULT
    note(request, f"{fault}, idle", fault, ended, "GPU_FAULT")


def test_an_answer_that_is_none_is_refused_and_the_next_frame_is_judged(box: Box) -> None:
    station = box.start().ready()
    for fault in ("nan", "unwritten"):
        station.inject(f"tensorrt {fault} 0 1 0")
        report = station.judge()
        assert (report.reason, report.score) == (Reason.SCORE_INVALID, 1.0)
        assert station.judge().reason is Reason.OK
    station.process.terminate()
    station.ended().require_orderly(0)


def test_an_execution_that_is_refused_ends_the_inspector(box: Box, request: pytest.FixtureRequest) -> None:
    box.configure(inspector_lines(box.folder, more="graphs = false"))
    station = box.start().ready()
    station.inject("tensorrt execute 0 1 0")
    station.send()
    ended = station.ended()
    ended.require_orderly(1)
    assert "could not be started" in ended.said
    assert ended.seconds < LIMIT_S
    assert refused(box.gate.reports)
    note(request, "execution refused", "STANDIN_FAULT execute", ended, "GPU_FAULT")


def test_sigterm_with_a_frame_on_the_gpu_ends_in_order(box: Box, request: pytest.FixtureRequest) -> None:
    station = box.start().ready()
    station.judge()
    station.inject("tensorrt slow 0 1 80")
    station.send()
    time.sleep(0.03)
    station.process.send_signal(signal.SIGTERM)
    ended = station.ended()
    ended.require_orderly(0)
    assert [report.reason for report in box.gate.reports] == [Reason.OK] * 2
    told = dict(line.split("=") for line in (box.folder / "report").read_text().splitlines() if "=" in line)
    assert [told[name] for name in ("live_allocations", "live_host_allocations", "live_graphs", "live_contexts")] == ["0"] * 4
    assert ended.seconds < LIMIT_S
    note(request, "SIGTERM in a frame", "signal", ended, "the frame's report")


def test_after_a_kill_in_a_frame_the_next_start_finds_the_gpu_as_good_as_new(box: Box) -> None:
    station = box.start().ready()
    station.inject("tensorrt slow 0 1 80")
    station.send()
    time.sleep(0.03)
    station.process.kill()
    assert station.ended().status == -signal.SIGKILL
    assert refused(box.gate.reports)
    again = box.start().ready()
    again.sent = station.sent  # the camera goes on: an image that came before is known after the kill too
    assert again.judge().reason is Reason.OK


def test_sigterm_on_a_gpu_that_hangs_ends_too(box: Box, request: pytest.FixtureRequest) -> None:
    station = box.start().ready()
    station.judge()
    station.inject("driver hang")
    station.process.send_signal(signal.SIGTERM)
    ended = station.ended()
    ended.require_orderly(0)
    assert "the GPU was not left in order" in ended.log
    assert ended.seconds < LIMIT_S
    note(request, "SIGTERM, hung", "hang", ended, "nothing more")
