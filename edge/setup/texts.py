"""The two configurations that `cordon setup` writes, and what it says is to be done next."""

from __future__ import annotations

import json
from pathlib import Path

from edge.demonstration import KEY, PLACE, WARNING
from edge.setup.answers import Answers

_HEAD = """\
# Written by `cordon setup`. Every other key: /usr/share/doc/cordon/configuration.md and examples/cordon.example.toml beside it
"""
_SIMULATORS = """\
# {warning}.
# Only for the simulators: with another port or camera neither daemon starts. For the real cell: sudo cordon setup

[gate]
port = "{place}/robot"
records = {records}
socket = "/run/cordon/gate.sock"

[inspector]
trusted_keys = ["{key}"]   # the demonstration's: everybody can sign by it

[inspector.bundles]
folder = {bundles}
line = "DEMONSTRATION"

[[inspector.camera]]
name = "cam0"
endpoint = "ipc://{place}/camera"
"""
_CELL = """\

[gate]
port = {port}
records = {records}
socket = "/run/cordon/gate.sock"

[inspector]
trusted_keys = [{key}]

[inspector.bundles]
folder = {bundles}
"""
_CAMERA = """
[[inspector.camera]]
name = {name}
endpoint = {endpoint}
"""
NEXT_SIMULATORS = """\
Next:      sudo systemctl start cordon-simulators.target   # robot and camera, and with them gate and inspector
verdicts:  sudo cordon records show P00001
real cell: sudo cordon setup"""
NEXT_CELL = """\
Next: sudo systemctl stop cordon-simulators.target; sudo systemctl restart cordon.target
      journalctl -fu cordon-gate -u cordon-inspector   # "serving ...", then READY
Line: /usr/share/doc/cordon/install.md, from step 3 on"""


def simulators_text(state: Path) -> str:
    """Robot and camera of `cordon-simulators.target`; records and bundles of their own, never beside a cell's."""
    files = {"records": _quoted(state / "demonstration.db"), "bundles": _quoted(state / "demonstration-bundles")}
    return _HEAD + _SIMULATORS.format(warning=WARNING, place=PLACE, key=KEY, **files)


def cell_text(answers: Answers, state: Path) -> str:
    """A cell with a store of bundles."""
    files = {"records": _quoted(state / "records.db"), "bundles": _quoted(state / "bundles")}
    cameras = (_CAMERA.format(name=_quoted(name), endpoint=_quoted(endpoint)) for name, endpoint in answers.cameras)
    return _HEAD + _CELL.format(port=_quoted(answers.port), key=_quoted(answers.key), **files) + "".join(cameras)


def _quoted(value: object) -> str:
    """A TOML string: JSON's escapes are TOML's too."""
    return json.dumps(str(value)).replace("\x7f", "\\u007f")
