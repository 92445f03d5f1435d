import sys
from pathlib import Path

import msgspec
import pytest

from edge.config import (
    BundlesConfig,
    CameraConfig,
    ChallengeConfig,
    ChallengePart,
    CurveConfig,
    GateConfig,
    GpuConfig,
    InspectorConfig,
    MetricsConfig,
    StorageConfig,
    load_config,
)
from edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GOOD = """
[gate]
port = "/dev/robot"
records = "/var/lib/cordon/records.db"
socket = "/run/cordon/gate.sock"
[inspector]
bundle = "/var/lib/cordon/line.cordon"
trusted_keys = ["{key}"]
[[inspector.camera]]
name = "cam0"
endpoint = "tcp://127.0.0.1:5555"
""".format(key="ab" * 32)


def _write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "cordon.toml").write_text(text)
    return tmp_path / "cordon.toml"


def test_the_smallest_file_has_the_documented_defaults(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, GOOD))
    assert (config.gate.profile, config.gate.budget_ms, config.gate.heartbeat_ms) == ("handshake", 200.0, 80.0)
    assert (config.inspector.engines, config.inspector.camera[0].name) == ("named", "cam0")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('port = "/dev/robot"', 'port = ""', "gate.port"),
        ('port = "/dev/robot"', 'port = "/dev/robot"\nbudget_ms = nan', "gate.budget_ms"),
        ('port = "/dev/robot"', 'port = "/dev/robot"\nbudget_ms = 1', "from 5 to 60000"),
        ('port = "/dev/robot"', 'port = "/dev/robot"\nbugdet_ms = 100', "bugdet_ms"),
        ('port = "/dev/robot"', 'port = "/dev/robot"\nprofile = "yes"', "yes"),
        ('port = "/dev/robot"', "", "port"),
        ('port = "/dev/robot"', 'port = "/dev/robot"\nframing = "none"', "framing"),
        ('port = "/dev/robot"', 'port = "/dev/robot"\nprofile = "push"\nrecipes = "r.toml"', "gate.recipes"),
        ('port = "/dev/robot"', 'port = "/dev/robot"\nrecipe = "R1"', "gate.recipe"),
        ('port = "/dev/robot"', 'port = "/dev/robot"\nrecipes = "r.toml"\nrecipe = "R 1"', "gate.recipe"),
        ('port = "/dev/robot"', 'port = "/dev/robot"\nlatch_noise = -1', "gate.latch_noise"),
        ('name = "cam0"', 'name = "cam 0"', "inspector.camera.name"),
        ("tcp://127.0.0.1:5555", "127.0.0.1", "tcp://"),
        ("abab", "xyxy", "hex"),
        ("[gate]", "[gate", "not valid TOML"),
    ],
)
def test_every_mistake_is_named_with_file_value_and_remedy(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = _write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=r"cordon\.toml") as caught:
        load_config(path)
    assert told in str(caught.value)


def test_the_link_is_named_with_its_profile_and_its_degraded_framing(tmp_path: Path) -> None:
    named = {}
    for profile in ("handshake", "push"):
        for framing in ("crc", "twice"):
            lines = f'port = "/dev/robot"\nprofile = "{profile}"\nframing = "{framing}"'
            gate = load_config(_write(tmp_path, GOOD.replace('port = "/dev/robot"', lines))).gate
            named[profile, framing] = gate.link_name
    assert list(named.values()) == ["handshake", "handshake-degraded", "push", "push-degraded"]


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")


def test_every_key_is_documented_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    documented = tomllib.loads(text.split("```toml")[1].split("```")[0])
    for table, documented_keys in (
        (GateConfig, documented["gate"]),
        (StorageConfig, documented["gate"]["storage"]),
        (ChallengeConfig, documented["gate"]["challenge"]),
        (ChallengePart, documented["gate"]["challenge"]["part"][0]),
        (InspectorConfig, documented["inspector"]),
        (GpuConfig, documented["inspector"]["gpu"]),
        (BundlesConfig, documented["inspector"]["bundles"]),
        (CameraConfig, documented["inspector"]["camera"][0]),
        (CurveConfig, documented["inspector"]["curve"]),
        (MetricsConfig, documented["metrics"]),
    ):
        fields = msgspec.structs.fields(table)
        assert {f.name for f in fields} == set(documented_keys)
        preset = [f for f in fields if not f.required and f.default not in (None, msgspec.NODEFAULT)]
        told = {f.name: type(f.default)(documented_keys[f.name]) for f in preset}  # TOML has lists and strings for tuples and paths
        assert told == {f.name: f.default for f in preset}
