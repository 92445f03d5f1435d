"""`cordon bench gpu`: the GPU inspector part by part on this machine, each part measured, skipped with its reason, or failed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from bench import gpu_report
from bench.gpu_agreement import compare
from bench.gpu_build import Built, build_networks, usable_backend
from bench.gpu_copies import Copies, measure_copies
from bench.gpu_engines import EngineTimes, measure_engines
from bench.gpu_facts import bus_id, read_facts, read_state
from bench.gpu_heightmap import measure_heightmaps
from bench.gpu_networks import PRECISIONS, Wanted, make_apart, make_networks, open_networks
from bench.gpu_parts import FULL, QUICK, Failed, Scale, Skipped, attempt
from bench.gpu_verdict import measure_line, measure_verdicts
from edge.engines.backend import BackendChoice
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.leave import gave_up, leave

T = TypeVar("T")
JUDGES = "int8"
"""The precision whose networks judge frames here."""


def main(argv: Sequence[str]) -> int:
    """Copies, heightmaps, engines, agreement with the CPU and frame to verdict on this machine's GPU; the last line is JSON.

    Status 1 when a part failed; one that needs what is not here is skipped and says so. Raises GpuError where there is no GPU.
    """
    arguments = _parser().parse_args(argv)
    scale = QUICK if arguments.quick else FULL
    if arguments.typologies is not None:
        scale = dataclasses.replace(scale, typologies=arguments.typologies)
    wanted = Wanted(folder=arguments.networks, architecture=arguments.architecture, typologies=scale.typologies)
    if arguments.only_networks:
        make_networks(wanted)
        return 0
    run = _Run(scale, wanted, arguments.backend)
    run.measure()
    text = json.dumps(run.figures)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    say(text)
    if gave_up():
        leave(1)
    return 1 if run.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon bench gpu", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="everything once and small: shows that it runs, its figures are worth nothing")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the line of JSON there as well")
    parser.add_argument("--backend", choices=["auto", "tensorrt", "tensorrt_rtx"], default="auto")
    parser.add_argument("--architecture", default="resnet18", help="of the networks (default %(default)s)")
    parser.add_argument("--typologies", type=int, metavar="N", help=f"networks that run together (default {FULL.typologies})")
    folder = Path("build/bench-gpu")
    parser.add_argument("--networks", type=Path, default=folder, metavar="DIR", help="where they are kept (default %(default)s)")
    parser.add_argument("--only-networks", action="store_true", help="export them, to be copied to a box without PyTorch, and stop")
    return parser


@dataclass
class _Run:
    """One run: what it found so far."""

    scale: Scale
    wanted: Wanted
    backend: BackendChoice
    figures: dict[str, Any] = field(default_factory=dict)
    failed: int = 0

    def measure(self) -> None:
        """Every part in its order; those that build on one that gave nothing are skipped for its reason."""
        device = Device()
        facts, bus = read_facts(device, self.backend), bus_id(device)
        device.close()
        place = None if facts.software_driver else bus
        before = read_state(place)
        say(gpu_report.facts_text(facts, before))
        self.figures["machine"] = dataclasses.asdict(facts)
        self._heightmaps()
        with tempfile.TemporaryDirectory(prefix="cordon-engines-") as folder:
            self._networks(Path(folder))
        after = read_state(place)
        say(gpu_report.state_text(after))
        self.figures["clocks"] = {"before": dataclasses.asdict(before), "after": dataclasses.asdict(after)}

    def _heightmaps(self) -> None:
        copies = self._part("copies", lambda: measure_copies(self.scale), gpu_report.copies_text, gpu_report.copies_figures)
        self._copies = copies
        if isinstance(copies, Copies):
            found = self._part(
                "heightmaps", lambda: measure_heightmaps(self.scale, copies), gpu_report.heightmaps_text, gpu_report.heightmap_figures
            )
            if not isinstance(found, (Skipped, Failed)):
                self.failed += sum(isinstance(each, Failed) for each in found)
        else:
            self._without("heightmaps", "there is no copy to compare with")

    def _networks(self, folder: Path) -> None:
        built = self._part(
            "building", lambda: self._build(folder), _built_text, lambda built: {b.networks.precision: b.seconds for b in built}
        )
        if isinstance(built, (Skipped, Failed)):
            for name in ("engines", "agreement", "verdict", "line"):
                self._without(name, built.reason)
            return
        copy_ms = self._copies.within_ms if isinstance(self._copies, Copies) else 1.0
        engines = self._part(
            "engines",
            lambda: measure_engines(built, self.scale, copy_ms),
            lambda times: gpu_report.engines_text(times, self.scale.typologies),
            gpu_report.engine_figures,
        )
        self._part(
            "agreement", lambda: tuple(compare(b, self.scale) for b in built), gpu_report.agreement_text, gpu_report.agreement_figures
        )
        integer = next(b for b in built if b.networks.precision == JUDGES)
        self._verdicts(integer, engines)

    def _verdicts(self, built: Built, engines: tuple[EngineTimes, ...] | Skipped | Failed) -> None:
        if isinstance(engines, (Skipped, Failed)):
            self._without("verdict", engines.reason)
        else:
            self._part(
                "verdict", lambda: measure_verdicts(built, engines, self.scale), gpu_report.verdicts_text, gpu_report.verdict_figures
            )
        self._part("line", lambda: measure_line(built, self.scale), gpu_report.line_text, gpu_report.line_figures)

    def _build(self, folder: Path) -> tuple[Built, ...]:
        backend, target = usable_backend(self.backend)
        make_apart(self.wanted, say)
        networks = [open_networks(self.wanted, precision) for precision in PRECISIONS]
        return tuple(build_networks(each, backend, target, folder / each.precision) for each in networks)

    def _part(self, name: str, measure: Callable[[], T], text: Callable[[T], str], figures: Callable[[T], Any]) -> T | Skipped | Failed:
        """Measure, print, note the figures. On a GPU that was lost before nothing is tried any more."""
        say(f"\n-- {name}")
        found: T | Skipped | Failed = Skipped("the GPU was lost in an earlier part") if gave_up() else attempt(measure)
        if isinstance(found, (Skipped, Failed)):
            self.failed += isinstance(found, Failed)
            say(gpu_report.one_line(found))
            self.figures[name] = gpu_report.why(found)
            return found
        say(text(found))
        self.figures[name] = figures(found)
        return found

    def _without(self, name: str, reason: str) -> None:
        self._part(name, cast("Callable[[], None]", lambda: Skipped(reason)), str, str)


def _built_text(built: tuple[Built, ...]) -> str:
    return "\n".join(f"{len(b.networks.typologies)} engines in {b.networks.precision}: {b.seconds:.1f} s" for b in built)


def say(text: str) -> None:
    """One part or milestone at a time."""
    print(text, flush=True)
