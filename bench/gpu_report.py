"""What was measured on the GPU as text for people, and as figures for the line of JSON; targets are named met or missed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from bench.gpu_agreement import Agreement
from bench.gpu_copies import Copies, gigabytes_per_s
from bench.gpu_engines import EngineTimes, gain
from bench.gpu_facts import Facts, State, rows
from bench.gpu_heightmap import TARGET_SHARE, HeightmapTimes, KernelTime
from bench.gpu_parts import Failed, Skipped
from bench.gpu_verdict import TARGET_MS, LineTimes, VerdictTimes
from bench.timing import Timing

Figures: TypeAlias = dict[str, Any]
_ENGINE_HEAD = f"{'engines, batch 1':<38}{'GPU p50':>9}{'p99 ms':>9}{'call p50':>10}{'p99 ms':>9}{'graphs':>8}"
_VERDICT_COLUMNS = ("networks", "p50 ms", "p99 ms", "engines", "above p50", "p99 ms", "at 20 ms", "p99 ms")
_VERDICT_HEAD = f"{'frame to score':<34}" + "".join(f"{column:>11}" for column in _VERDICT_COLUMNS)


def facts_text(facts: Facts, before: State) -> str:
    """The machine, one fact per line."""
    note = ["These figures are the software driver's: they say nothing of any GPU."] if facts.software_driver else []
    return "\n".join([*note, *(f"{name:<22}{seen}" for name, seen in (*rows(facts), *rows(before)))])


def state_text(after: State) -> str:
    """Clocks and temperature after measuring."""
    return "after measuring: " + ", ".join(f"{name} {seen}" for name, seen in rows(after))


def copies_text(copies: Copies) -> str:
    """The three bandwidths."""
    block = copies.block_bytes / 1e6
    return (
        f"copies of {block:.0f} MB: within the GPU {copies.within:.1f} GB/s (read and written), "
        f"to it {copies.to_gpu:.1f} GB/s, from it {copies.from_gpu:.1f} GB/s (pinned)"
    )


def heightmaps_text(found: Sequence[HeightmapTimes | Skipped | Failed]) -> str:
    """One block per kind of frame and memory."""
    return "\n".join(one_line(each) if isinstance(each, (Skipped, Failed)) else _heightmap_text(each) for each in found)


def _heightmap_text(times: HeightmapTimes) -> str:
    verdict = _verdict(times.share >= TARGET_SHARE, f"target {TARGET_SHARE:.0%}")
    usual = ", the usual memory here" if times.usual else ""
    reached = f"{gigabytes_per_s(times.must_move, times.kernels.p50_ms):.1f} GB/s, {times.share:.0%} of a copy, {verdict}"
    lines = [
        f"{times.name}, {times.memory}{usual}: kernels {_ms(times.kernels)}, {times.must_move / 1e6:.1f} MB must move: {reached}",
        f"  frame to heightmap {_ms(times.whole)}; CPU reference {_ms(times.cpu)}; largest difference {times.difference} grays",
        *(f"  {_kernel_text(kernel, times.copy_gb_per_s)}" for kernel in times.each),
    ]
    if times.exposed:
        lines.append(f"  {times.exposed} of {times.kernels.count} runs hold launch times of the host as well")
    return "\n".join(lines)


def _kernel_text(kernel: KernelTime, copy: float) -> str:
    share = f"{gigabytes_per_s(kernel.nbytes, kernel.ms) / copy:>6.0%} of a copy" if kernel.nbytes else "  samples only"
    return f"{kernel.kernel:<18}{kernel.launches:>3} x {kernel.ms:>9.4f} ms in all {kernel.nbytes / 1e6:>8.1f} MB {share}"


def engines_text(times: Sequence[EngineTimes], networks: int) -> str:
    """The rows, what the runtime said, and INT8 against FP16."""
    lines = [_ENGINE_HEAD]
    for each in times:
        gpu, call = each.gpu, each.call
        row = f"{each.setting.name:<38}{gpu.p50_ms:>9.3f}{gpu.p99_ms:>9.3f}{call.p50_ms:>10.3f}{call.p99_ms:>9.3f}"
        lines.append(f"{row}{each.captured:>8}")
    lines += [f"  note: {note}" for note in dict.fromkeys(note for each in times for note in each.notes)]
    lines += [
        f"INT8 is {gain(times, count):.2f} times as fast as FP16 (networks together: {count}; each at its best)"
        for count in dict.fromkeys((1, networks))
    ]
    return "\n".join(lines)


def agreement_text(found: Sequence[Agreement]) -> str:
    """One line per precision."""
    return "\n".join(
        f"{each.precision}: {each.golden} golden inputs gave the promised answers; largest difference from OpenVINO {each.largest:.2g} "
        f"in {each.scores} scores, {each.flips} on the other side of the threshold"
        for each in found
    )


def verdicts_text(found: Sequence[VerdictTimes]) -> str:
    """The rows with the target."""
    lines = [_VERDICT_HEAD]
    for each in found:
        total, slow = each.total, each.paced
        times = (total.p50_ms, total.p99_ms, each.engine_ms, each.above_p50_ms, each.above_p99_ms, slow.p50_ms, slow.p99_ms)
        row = f"{each.name:<34}{each.networks:>11}" + "".join(f"{ms:>11.3f}" for ms in times)
        lines.append(f"{row}  {_verdict(met(each), f'target {TARGET_MS} ms')}")
    return "\n".join(lines)


def line_text(found: LineTimes) -> str:
    """The daemons."""
    return f"frame published to verdict at the robot, one per 20 ms: {_ms(found.verdicts)}; {found.missing} not accepted"


def met(times: VerdictTimes) -> bool:
    """Median and 99th percentile within the target."""
    return times.above_p50_ms <= TARGET_MS and times.above_p99_ms <= TARGET_MS


def one_line(part: Skipped | Failed) -> str:
    """Why there is nothing."""
    return f"skipped: {part.reason}" if isinstance(part, Skipped) else f"FAILED: {part.reason}"


def _verdict(reached: bool, target: str) -> str:
    return f"{target} {'met' if reached else 'missed'}"


def _ms(timing: Timing) -> str:
    return f"p50 {timing.p50_ms:.3f} ms, p99 {timing.p99_ms:.3f} ms"


# -- figures


def heightmap_figures(found: Sequence[HeightmapTimes | Skipped | Failed]) -> list[Figures]:
    """One per kind of frame and memory."""
    return [why(each) if isinstance(each, (Skipped, Failed)) else _heightmap_figures(each) for each in found]


def _heightmap_figures(times: HeightmapTimes) -> Figures:
    return {
        "frame": times.name,
        "memory": times.memory,
        "usual": times.usual,
        "kernels_p50_ms": _round(times.kernels.p50_ms),
        "kernels_p99_ms": _round(times.kernels.p99_ms),
        "whole_p50_ms": _round(times.whole.p50_ms),
        "cpu_p50_ms": _round(times.cpu.p50_ms),
        "must_move_bytes": times.must_move,
        "share_of_copy": _round(times.share),
        "target_met": times.share >= TARGET_SHARE,
        "difference_grays": times.difference,
    }


def engine_figures(times: Sequence[EngineTimes]) -> list[Figures]:
    """One per setting."""
    return [
        {
            "setting": each.setting.name,
            "gpu_p50_ms": _round(each.gpu.p50_ms),
            "gpu_p99_ms": _round(each.gpu.p99_ms),
            "call_p50_ms": _round(each.call.p50_ms),
            "call_p99_ms": _round(each.call.p99_ms),
            "captured": each.captured,
        }
        for each in times
    ]


def verdict_figures(found: Sequence[VerdictTimes]) -> list[Figures]:
    """One per kind of frame and number of networks."""
    return [
        {
            "frame": each.name,
            "networks": each.networks,
            "p50_ms": _round(each.total.p50_ms),
            "p99_ms": _round(each.total.p99_ms),
            "paced_p50_ms": _round(each.paced.p50_ms),
            "paced_p99_ms": _round(each.paced.p99_ms),
            "above_p50_ms": _round(each.above_p50_ms),
            "above_p99_ms": _round(each.above_p99_ms),
            "target_met": met(each),
        }
        for each in found
    ]


def agreement_figures(found: Sequence[Agreement]) -> list[Figures]:
    """One per precision."""
    return [{"precision": each.precision, "golden": each.golden, "largest": each.largest, "flips": each.flips} for each in found]


def line_figures(found: LineTimes) -> Figures:
    """The daemons."""
    return {"p50_ms": _round(found.verdicts.p50_ms), "p99_ms": _round(found.verdicts.p99_ms), "missing": found.missing}


def copies_figures(copies: Copies) -> Figures:
    """GB/s."""
    return {"within": _round(copies.within), "to_gpu": _round(copies.to_gpu), "from_gpu": _round(copies.from_gpu)}


def why(part: Skipped | Failed) -> Figures:
    """Why there are none."""
    return {"skipped" if isinstance(part, Skipped) else "failed": part.reason}


def _round(value: float) -> float:
    return round(value, 4)
