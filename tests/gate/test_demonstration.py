"""A gate whose configuration trusts the key that everybody knows says so in its records, and so does whoever reads them."""

from pathlib import Path

import msgspec
import pytest
from gate_kit import a_config

from edge.demonstration import KEY, WARNING
from edge.gate.audit import of_demonstration
from edge.gate.daemon import GateDaemon
from edge.gate.records_cli import records_main
from sim.robot import Robot


@pytest.mark.parametrize("shown", [True, False])
def test_records_of_a_demonstration_say_that_they_are_none_of_a_line(
    shown: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = a_config(tmp_path)
    if shown:  # a configuration from a file could not be so: the port is none of the simulators'
        msgspec.structs.force_setattr(config.inspector, "trusted_keys", (KEY,))
    with Robot(link=tmp_path / "robot", profile="handshake"):
        daemon = GateDaemon(config, "c" * 64)
        daemon.step(0.05)
        daemon.close()
    assert of_demonstration(config.gate.records) is shown
    assert records_main(["verify", str(config.gate.records)]) == 0
    assert records_main(["show", "P1", "--records", str(config.gate.records)]) == 1
    assert capsys.readouterr().err.count(WARNING) == 2 * shown
