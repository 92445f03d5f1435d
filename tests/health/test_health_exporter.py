"""What Prometheus gets: every documented name, the right figures, from a process that only reads."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from health_kit import Box, inspector_state, refused
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from edge.config import MetricsConfig
from edge.errors import ConfigError
from edge.gate.codec import Counters
from edge.health.box import Gpus, temperatures
from edge.health.buckets import BUCKETS, end_ns
from edge.health.exporter import collector, server_at
from edge.health.look import look
from edge.health.metrics import METRICS
from edge.health.reader import Times
from edge.health.samples import BOUNDS_NS, COUNTERS, FROM_ZERO, TABLES, cumulative

ROOT = Path(__file__).parents[2]
CONFIG = """\
[gate]
port = "/dev/robot"
records = "{folder}/records.db"
socket = "{folder}/gate.sock"
[inspector]
bundle = "x"
trusted_keys = ["{key}"]
[[inspector.camera]]
name = "cam0"
endpoint = "ipc:///tmp/none"
[metrics]
port = {port}
every_s = 1.0
"""
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.end()


def values(text: str) -> Values:
    return {(s.name, frozenset(s.labels.items())): s.value for family in text_string_to_metric_families(text) for s in family.samples}


def exposed(box: Box) -> str:
    from prometheus_client import generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(collector(lambda: look(box.folder), lambda: {"Package id 0": 61.5}))
    return generate_latest(registry).decode()


def value(found: Values, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_every_name_is_there_with_and_without_values(box: Box, tmp_path: Path) -> None:
    names = {metric.name.removesuffix("_total") for metric in METRICS}
    assert {family.name for family in text_string_to_metric_families(exposed(box.say().work(50)))} == names
    box.end()
    for path in tmp_path.glob("*.health"):
        path.unlink()
    assert {family.name for family in text_string_to_metric_families(exposed(box))} == names


def test_the_figures_are_those_of_the_files(box: Box) -> None:
    found = values(exposed(box.say().work(1_000)))
    assert value(found, "cordon_accepting") == 1
    assert value(found, "cordon_up", process="gate") == 1
    assert value(found, "cordon_verdicts_total", outcome="REJECT", reason="DEFECT", typology="T2") == 100
    assert value(found, "cordon_stage_seconds_count", process="gate", stage="sent") == 1000
    assert value(found, "cordon_stage_max_seconds", process="gate", stage="sent") == 0.15
    assert value(found, "cordon_stage_since_start_seconds", process="gate", stage="sent", quantile="0.5") == pytest.approx(0.011, rel=0.032)
    assert value(found, "cordon_deadline_misses_total", kind="NO_FRAME") == 2
    assert value(found, "cordon_frame_events_total", camera="cam0", reason="FRAME_GAP") == 3
    assert value(found, "cordon_temperature_celsius", sensor="Package id 0") == 61.5


def test_a_histograms_buckets_rise_to_its_count_and_enclose_its_times(box: Box) -> None:
    found = values(exposed(box.say().work(1_000)))
    stage = {"process": "gate", "stage": "sent"}
    bounds = sorted(
        (float(dict(labels)["le"]), count)
        for (name, labels), count in found.items()
        if name == "cordon_stage_seconds_bucket" and dict(labels).items() >= stage.items()
    )
    assert [count for _, count in bounds] == sorted(count for _, count in bounds)
    assert bounds[-1] == (float("inf"), 1000)
    times_s = sorted([0.15] + [(1 + number % 20) / 1e3 for number in range(1_000) if number != 7])
    for bound_s, count in bounds[:-1]:
        assert count == sum(time_s < bound_s for time_s in times_s), bound_s
    assert value(found, "cordon_stage_seconds_sum", **stage) == pytest.approx(sum(times_s))


def test_each_bound_counts_every_bucket_below_it() -> None:
    times = Times(BUCKETS, 0, 0, (1,) * BUCKETS, whole=True)
    ends = [end_ns(bucket) for bucket in range(BUCKETS)]
    assert cumulative(times) == [(bound / 1e9, ends.index(bound) + 1) for bound in BOUNDS_NS]


def test_what_an_alert_waits_for_is_there_before_it_happens(box: Box) -> None:
    found = values(exposed(box.say()))
    for kind in ("NO_FRAME", "DEADLINE", "RECORD_LATE", "NOT_SENT", "SENT_LATE"):
        assert value(found, "cordon_deadline_misses_total", kind=kind) == 0
    assert value(found, "cordon_frame_events_total", camera="cam0", reason="FRAME_GAP") == 0
    assert value(found, "cordon_engine_failures_total", kind="GpuError") == 0
    assert value(found, "cordon_events_total", kind="noise", reason="bad_crc") == 0
    assert ("cordon_frame_events_total", frozenset({("camera", "noise"), ("reason", "bad_crc")})) not in found
    found = values(exposed(box.work(10)))
    assert value(found, "cordon_deadline_misses_total", kind="NO_FRAME") == 2
    assert value(found, "cordon_frame_events_total", camera="cam0", reason="FRAME_GAP") == 3


def test_the_kinds_of_noise_are_the_codecs() -> None:
    assert {kind for _, kind in FROM_ZERO["events"]} == set(Counters.__struct_fields__)


def test_reasons_not_to_accept_are_series_of_their_own(box: Box) -> None:
    found = values(exposed(box.say(refused("LATCHED", "SESSION_LOST", latched=("a", "b")))))
    assert value(found, "cordon_accepting") == 0
    assert value(found, "cordon_latched") == 2
    assert value(found, "cordon_not_accepting", reason="LATCHED") == value(found, "cordon_not_accepting", reason="SESSION_LOST") == 1


def test_what_a_dead_process_left_behind_is_not_shown_as_if_it_went_on(box: Box) -> None:
    box.say().work(10)
    box.end()
    found = values(exposed(box))
    assert value(found, "cordon_up", process="gate") == value(found, "cordon_accepting") == 0
    assert not [name for name, _ in found if name.startswith(("cordon_verdicts", "cordon_stage", "cordon_camera"))]


def test_no_label_can_be_a_part_a_session_or_a_whole_hash(box: Box) -> None:
    text = exposed(box.say(inspector=inspector_state()).work(50))
    assert not {"part", "weld", "session", "sequence"} & {label for metric in METRICS for label in metric.labels}
    assert not re.search(r'="[^"]*[0-9a-f]{16}', text)


def test_names_keep_the_conventions_of_prometheus() -> None:
    for name, kind, text, _ in METRICS:
        assert re.fullmatch(r"cordon_[a-z_]+", name), name
        assert name.endswith("_total") == (kind == "counter"), name
        assert text, name
        assert not re.search(r"_(ms|ns|mb|percent|celsius_degrees)(_|$)", name), name
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_every_count_of_the_files_has_its_name() -> None:
    from edge.health.gate import LAYOUT as GATE  # noqa: PLC0415
    from edge.health.inspector import LAYOUT as INSPECTOR  # noqa: PLC0415

    named = {metric.name: metric for metric in METRICS}
    for who, layout in (("gate", GATE), ("inspector", INSPECTOR)):
        assert set(layout.counters) == set(COUNTERS[who]) | ({"frames"} if who == "inspector" else set())
        assert set(layout.tables) == set(TABLES[who])
        assert set(COUNTERS[who].values()) <= set(named)
        assert all(len(named[name].labels) == words for name, words in TABLES[who].values())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_process_answers_on_its_port_writes_its_file_and_ends_in_order(box: Box, tmp_path: Path) -> None:
    box.say().work(10)
    port = free_port()
    (tmp_path / "cordon.toml").write_text(CONFIG.format(folder=tmp_path, key="0" * 64, port=port))
    words = ["run", "metrics", "--config", str(tmp_path / "cordon.toml"), "--textfile", str(tmp_path / "cordon.prom")]
    process = subprocess.Popen([sys.executable, "-X", "faulthandler", "-m", "edge", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        text = asked(process, port)
    finally:
        process.terminate()
        status = process.wait(20)
        assert process.stderr is not None
        process.stderr.close()
    assert status == 0
    assert value(values(text), "cordon_triggers_total") == 10
    assert value(values((tmp_path / "cordon.prom").read_text()), "cordon_triggers_total") == 10


def asked(process: "subprocess.Popen[str]", port: int) -> str:
    until_s = time.monotonic() + 60
    while True:
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:  # urllib would obey a proxy of the environment
                connection.request("GET", "/metrics")
                return connection.getresponse().read().decode()
        except OSError:
            assert process.poll() is None, process.communicate()
            if time.monotonic() > until_s:
                process.send_signal(signal.SIGABRT)
                raise AssertionError(f"nobody answers; the process was at {process.communicate()[1]}") from None
            time.sleep(0.05)


def test_a_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (tmp_path / "cordon.toml").write_text(CONFIG.format(folder=tmp_path, key="0" * 64, port=port))
        words = ["run", "metrics", "--config", str(tmp_path / "cordon.toml")]
        done = subprocess.run([sys.executable, "-m", "edge", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


@pytest.mark.parametrize("wrong", [{"listen": "everywhere"}, {"port": 70_000}, {"textfile": Path("x.txt")}, {"port": 0}, {"every_s": 0.0}])
def test_values_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"metrics\."):
        MetricsConfig(**wrong)  # type: ignore[arg-type]


def test_the_daemons_load_nothing_of_the_exporters() -> None:
    code = "import sys, edge.gate.daemon, edge.inspector.daemon\n"
    code += "print([m for m in sys.modules if m.startswith(('prometheus', 'edge.health.exporter', 'http.server'))])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout == "[]\n"


def test_sensors_are_read_by_their_names_and_broken_ones_left_out(tmp_path: Path) -> None:
    files = {
        "thermal/thermal_zone0/type": "cpu-thermal\n",
        "thermal/thermal_zone0/temp": "51500\n",
        "thermal/thermal_zone1/type": "gpu-thermal",
        "thermal/thermal_zone1/temp": "",
        "hwmon/hwmon0/name": "coretemp",
        "hwmon/hwmon0/temp1_input": "61000",
        "hwmon/hwmon0/temp1_label": "Package id 0",
        "hwmon/hwmon1/name": "nvme",
        "hwmon/hwmon1/temp1_input": "-2000",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert temperatures(tmp_path) == {"cpu-thermal": 51.5, "coretemp Package id 0": 61.0, "nvme temp1": -2.0}
    assert temperatures(tmp_path / "none") == {}


def test_without_nvidias_driver_there_are_no_gpus(tmp_path: Path) -> None:
    gpus = Gpus(tmp_path / "nvidiactl")
    assert gpus.temperatures() == {}
    gpus.close()


def test_it_listens_without_asking_a_name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked_for(*_: object) -> str:
        raise AssertionError("a box without internet would wait here")

    for name in ("getfqdn", "gethostbyaddr", "getaddrinfo"):
        monkeypatch.setattr(socket, name, asked_for)
    server = server_at("127.0.0.1", 0, CollectorRegistry())
    server.server_close()
