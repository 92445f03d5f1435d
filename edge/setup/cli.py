"""`cordon setup`: writes cordon.toml for the simulators or, asking what is not given, for a cell; never over one that is there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.bundle import Bundle
from edge.bundles.policy import Policy
from edge.bundles.proof import prover
from edge.bundles.store import Store
from edge.config import load_config
from edge.demonstration import FOLDER, WARNING
from edge.setup.answers import Answers, cell_answers
from edge.setup.place import Place, Standing
from edge.setup.texts import NEXT_CELL, NEXT_SIMULATORS, cell_text, simulators_text

CONFIG, STATE = Path("/etc/cordon/cordon.toml"), Path("/var/lib/cordon")
DEMONSTRATION_AGAIN = "cordon setup --simulators: the demonstration of the release installed now"


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises ConfigError, BundleError or KnownAnswerError; then /etc/cordon/cordon.toml is as it was."""
    arguments = _parser().parse_args(argv)
    place = Place(config=arguments.config)
    place.require_free()  # before anybody is asked anything
    if arguments.simulators:
        return _simulators(place, arguments.state.absolute(), arguments.demonstration)
    return _cell(place, arguments.state.absolute(), cell_answers(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon setup", description=__doc__)
    parser.add_argument("--simulators", action="store_true", help="a simulated robot and camera, judged by the demonstration's bundle")
    cell = parser.add_argument_group("a cell (what is not given is asked for)").add_argument
    cell("--port", help="the robot's serial device, such as /dev/robot")
    cell("--camera", action="append", metavar="NAME=ENDPOINT", help="once per camera, such as cam0=tcp://192.168.1.20:5555")
    cell("--key", help="public key, 64 hex digits, that signs this line's bundles")
    cell("--bundle", type=Path, metavar="FILE", help="the line's bundle: proved on this box and put into use")
    place = parser.add_argument_group("elsewhere than usual").add_argument
    place("--config", type=Path, default=CONFIG, metavar="FILE", help="file to write (default %(default)s)")
    place("--state", type=Path, default=STATE, metavar="FOLDER", help="for records and bundles (default %(default)s)")
    place("--demonstration", type=Path, default=FOLDER, metavar="FOLDER", help="what the package brings (default %(default)s)")
    return parser


def _simulators(place: Place, state: Path, demonstration: Path) -> int:
    kept = place.standing() is Standing.SIMULATORS
    draft = place.config if kept else place.draft(simulators_text(state))
    try:
        bundle = use_bundle(draft, demonstration / "line.cordon", downgrade=DEMONSTRATION_AGAIN)
        if not kept:
            place.settle(draft)
    finally:
        if not kept:
            draft.unlink(missing_ok=True)
    print(f"{place.config}: {'the simulators, as it was' if kept else 'written for the simulators'}")
    print(f"bundle {bundle.manifest.name}, {bundle.hash}: proved on this box, active\n{WARNING}\n\n{NEXT_SIMULATORS}")
    return 0


def _cell(place: Place, state: Path, answers: Answers) -> int:
    draft = place.draft(cell_text(answers, state))
    try:
        load_config(draft)
        bundle = None if answers.bundle is None else use_bundle(draft, answers.bundle)
        aside = place.settle(draft)
    finally:
        draft.unlink(missing_ok=True)
    if aside is not None:
        print(f"the simulators' configuration is kept as {aside}; the demonstration's key is trusted no more")
    used = "no bundle yet: every weld is rejected" if bundle is None else f"bundle {bundle.manifest.name}, {bundle.hash}: proved, active"
    print(f"{place.config}: written for the cell\n{used}\n\n{NEXT_CELL}")
    return 0


def use_bundle(config_file: Path, file: Path, *, downgrade: str = "") -> Bundle:
    """Install and activate `file` in the store that this configuration names. Raises BundleError or KnownAnswerError."""
    config = load_config(config_file)
    store = Store(policy=Policy.of(config.inspector))
    bundle, _ = store.install(file, downgrade=downgrade)
    print(f"proving {bundle.manifest.name} on this box ...", file=sys.stderr, flush=True)
    return store.activate(bundle.hash, prover(config_file, store.policy.store.proof_s), downgrade=downgrade)
