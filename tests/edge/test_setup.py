"""`cordon setup`: what it writes holds, what is there stays, and the demonstration's key judges nothing but the simulators."""

import argparse
import hashlib
import os
import pty
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny import KEY as LINE_KEY
from tiny import PUBLIC as LINE_PUBLIC
from tiny import TinyBundle

from edge import demonstration
from edge.bundle import file_entries, sign_bundle
from edge.config import load_config
from edge.config.reload import reread
from edge.demonstration import KEY, PLACE, require_pretended
from edge.errors import BundleError, ConfigError, LinkError
from edge.gate.port import SerialPort
from edge.setup import cli
from edge.setup.answers import Answers, cell_answers
from edge.setup.place import Place, Standing
from edge.setup.texts import cell_text, simulators_text

PHRASE = b"Cordon demonstration key: known to everybody, never to be trusted"
DEMONSTRATION = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(PHRASE).digest())
CELL = ("--port", "/dev/robot", "--camera", "cam0=tcp://192.168.1.20:5555", "--key", LINE_PUBLIC)


def signed(name: str, key: Ed25519PrivateKey) -> bytes:
    tiny = TinyBundle()
    manifest = msgspec.structs.replace(tiny.manifest(), name=name)
    return sign_bundle(msgspec.structs.replace(manifest, files=file_entries(tiny.files)), tiny.files, key)


@pytest.fixture
def box(tmp_path: Path) -> tuple[str, ...]:
    """Options for a box in `tmp_path`, with a tiny bundle as the package's demonstration."""
    for name in ("etc", "state", "demonstration"):
        (tmp_path / name).mkdir()
    (tmp_path / "demonstration/line.cordon").write_bytes(signed("DEMONSTRATION", DEMONSTRATION))
    (tmp_path / "line.cordon").write_bytes(signed("tiny", LINE_KEY))
    return (
        "--config",
        str(tmp_path / "etc/cordon.toml"),
        "--state",
        str(tmp_path / "state"),
        "--demonstration",
        str(tmp_path / "demonstration"),
    )


def test_the_key_is_the_one_whose_private_half_everybody_can_compute() -> None:
    assert DEMONSTRATION.public_key().public_bytes_raw().hex() == KEY
    packaging = Path(__file__).parents[2] / "packaging/demonstration.py"
    assert PHRASE.decode() in packaging.read_text()


@pytest.mark.parametrize("module", ["edge.demonstration", "edge.health.status", "edge.setup.place", "edge.config"])
def test_each_of_them_may_be_imported_first(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "cordon.toml").write_text(text)
    return tmp_path / "cordon.toml"


@pytest.mark.parametrize(
    ("ours", "real"),
    [
        (f'port = "{PLACE}/robot"', 'port = "/dev/robot"'),
        (f'port = "{PLACE}/robot"', f'port = "{PLACE}/../../dev/ttyUSB0"'),
        (f'port = "{PLACE}/robot"', f'port = "{PLACE}/.."'),
        (f'port = "{PLACE}/robot"', f'port = "{PLACE}2/robot"'),
        (f'endpoint = "ipc://{PLACE}/camera"', 'endpoint = "tcp://192.168.1.20:5555"'),
        (f'endpoint = "ipc://{PLACE}/camera"', 'endpoint = "tcp://127.0.0.1:5555"'),
        (f'endpoint = "ipc://{PLACE}/camera"', f'endpoint = "ipc://{PLACE}/a/../../camera"'),
        (f'trusted_keys = ["{KEY}"]', f'trusted_keys = ["{KEY}", "{LINE_PUBLIC}"]'),
    ],
)
def test_the_demonstrations_key_is_refused_for_anything_but_the_simulators(ours: str, real: str, tmp_path: Path) -> None:
    text = simulators_text(tmp_path)
    assert load_config(written(tmp_path, text)).inspector.trusted_keys == (KEY,)
    assert ours in text
    with pytest.raises(ConfigError, match=r"trusted_keys.*demonstration's key.*your own public key"):
        load_config(written(tmp_path, text.replace(ours, real)))


@pytest.mark.parametrize("ours", [KEY, LINE_PUBLIC])
def test_the_demonstrations_key_signs_no_engines(ours: str, tmp_path: Path) -> None:
    gpu = f'[inspector.gpu]\nengines = "{tmp_path}"\nbox_keys = ["{LINE_PUBLIC}", "{KEY}"]\n'
    with pytest.raises(ConfigError, match=r"box_keys.*Everybody can sign engines"):
        load_config(written(tmp_path, simulators_text(tmp_path).replace(KEY, ours) + gpu))


def test_a_port_of_the_simulators_that_leads_to_a_real_device_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_pretended("/dev/robot", os.makedev(188, 0))
    require_pretended(f"{PLACE}/robot", os.makedev(136, 3))
    with pytest.raises(LinkError, match=r"leads to a real device.*188:0"):
        require_pretended(f"{PLACE}/robot", os.makedev(188, 0))
    monkeypatch.setattr(demonstration, "PLACE", str(tmp_path))
    control, terminal = os.openpty()
    try:
        (tmp_path / "robot").symlink_to(os.ttyname(terminal))
        SerialPort(str(tmp_path / "robot"), baudrate=115_200).close()
        monkeypatch.setattr(demonstration, "PSEUDO_TERMINALS", range(0))
        with pytest.raises(LinkError, match="leads to a real device"):
            SerialPort(str(tmp_path / "robot"), baudrate=115_200)
    finally:
        os.close(control)
        os.close(terminal)


def test_the_simulators_may_run_with_a_key_of_ones_own(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, simulators_text(tmp_path).replace(KEY, LINE_PUBLIC))).inspector.trusted_keys == (LINE_PUBLIC,)


@pytest.mark.parametrize(("running", "edited"), [(LINE_PUBLIC, KEY), (KEY, LINE_PUBLIC)])
def test_no_reload_makes_a_demonstration_of_a_line_or_a_line_of_a_demonstration(running: str, edited: str, tmp_path: Path) -> None:
    before = load_config(written(tmp_path, simulators_text(tmp_path).replace(KEY, running)))
    path = written(tmp_path, simulators_text(tmp_path).replace(KEY, edited))
    with pytest.raises(ConfigError, match="only a restart"):
        reread(path, before)


def test_values_with_quotes_and_controls_stay_what_they_are(tmp_path: Path) -> None:
    answers = Answers(port='/dev/"robot\\\x7f', cameras=(("cam0", "tcp://1:2"),), key=LINE_PUBLIC, bundle=None)
    assert load_config(written(tmp_path, cell_text(answers, tmp_path))).gate.port == answers.port


def test_somebodys_configuration_is_never_touched(box: tuple[str, ...]) -> None:
    config = Path(box[1])
    for text in ("# a person wrote this\n", "not TOML [", '[inspector]\ntrusted_keys = ["00"]\n'):
        config.write_text(text)
        for words in (("--simulators",), CELL):
            with pytest.raises(ConfigError, match="a configuration already"):
                cli.main((*words, *box))
        assert config.read_text() == text
        assert [path.name for path in config.parent.iterdir()] == ["cordon.toml"]


def test_a_configuration_that_appears_meanwhile_wins(tmp_path: Path) -> None:
    place = Place(config=tmp_path / "cordon.toml")
    draft = place.draft("ours")
    place.config.write_text("theirs")
    with pytest.raises(ConfigError, match="a configuration already"):
        place.settle(draft)
    assert place.config.read_text() == "theirs"


def test_a_link_in_the_place_counts_as_somebodys_own(tmp_path: Path) -> None:
    (tmp_path / "cordon.toml").symlink_to(tmp_path / "nowhere")
    assert Place(config=tmp_path / "cordon.toml").standing() is Standing.CELL


def test_a_folder_that_may_not_be_written_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sudo cordon setup"):
        Place(config=tmp_path / "missing/cordon.toml").draft("x")


@pytest.mark.slow
def test_from_the_simulators_to_a_cell(box: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(box[1])
    assert cli.main(("--simulators", *box)) == 0
    assert "says nothing about a weld" in capsys.readouterr().out
    assert load_config(config).inspector.trusted_keys == (KEY,)
    assert stat.S_IMODE(config.stat().st_mode) == 0o644
    config.write_text(config.read_text() + "\n# mine\n")
    assert cli.main(("--simulators", *box)) == 0, "again, after an update"
    assert config.read_text().endswith("# mine\n")
    with pytest.raises(BundleError):
        cli.main((*CELL, "--bundle", str(tmp_path / "demonstration/line.cordon"), *box))
    assert load_config(config).inspector.trusted_keys == (KEY,), "as it was"
    assert cli.main((*CELL, "--bundle", str(tmp_path / "line.cordon"), *box)) == 0
    cell = load_config(config)
    assert (cell.gate.port, cell.inspector.trusted_keys, cell.inspector.camera[0].name) == ("/dev/robot", (LINE_PUBLIC,), "cam0")
    assert sorted(path.name for path in config.parent.iterdir()) == ["cordon.toml", "cordon.toml.simulators"]
    assert (config.parent / "cordon.toml.simulators").read_text().endswith("# mine\n")


class Terminal:
    """`cordon setup` on a terminal, with somebody who reads its questions before answering."""

    def __init__(self, *options: str) -> None:
        self.said = self._key = b""
        self._answered = 0
        self._handle, terminal = pty.openpty()
        # Opened once more by the first process of its session, it is the one that ^C comes from.
        start = "import os, sys; os.open(os.ttyname(0), os.O_RDWR); from edge.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", start, "setup", *options]
        self._process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
        os.close(terminal)

    def answer(self, *answers: str) -> None:
        for answer in answers:
            mark = self._answered
            self._read(lambda told: len(told) > mark and told.endswith(b": "))  # noqa: B023 - called in this very round
            self._answered = len(self.said)
            self._key = answer.encode() if answer in ("\3", "\4") else b""
            os.write(self._handle, self._key or answer.encode() + b"\n")

    def end(self) -> tuple[int, str]:
        """Its exit status, and all that was on the screen."""
        self._read(lambda _: False)
        os.close(self._handle)
        return self._process.wait(20), self.said.decode()

    def _read(self, enough: Callable[[bytes], bool]) -> None:
        while not enough(self.said):
            until_s = time.monotonic() + 20
            while not select.select([self._handle], [], [], 0.5)[0]:
                assert time.monotonic() < until_s, self.said
                os.write(self._handle, self._key)  # Python misses the one that comes between prompt and reading
            try:
                data = os.read(self._handle, 4096)
            except OSError:  # Linux: the other end is closed
                return
            if not data:
                return
            self.said += data


def test_on_a_terminal_it_asks_until_the_answer_can_be(box: tuple[str, ...]) -> None:
    terminal = Terminal(*box)
    terminal.answer("robot", "", "/dev/robot", "192.168.1.20", "c=tcp://1.2.3.4:5,d=tcp://1.2.3.4:6", "c=tcp://1.2.3.4:5 c=tcp://1.2.3.4:6")
    terminal.answer("c=tcp://1.2.3.4:5 d=tcp://1.2.3.4:6", "zz", KEY, LINE_PUBLIC.upper(), "/no/such.cordon", "")
    status, said = terminal.end()
    assert status == 0, said
    for told in (
        "no serial device",
        "no camera (seen: 192",
        "no camera (seen: c=",
        "two cameras of one name",
        "no public key",
        "no such file",
    ):
        assert told in said
    assert "that is the demonstration's key" in said
    cell = load_config(Path(box[1]))
    assert (cell.gate.port, cell.inspector.trusted_keys) == ("/dev/robot", (LINE_PUBLIC,))
    assert [(camera.name, camera.endpoint) for camera in cell.inspector.camera] == [("c", "tcp://1.2.3.4:5"), ("d", "tcp://1.2.3.4:6")]


@pytest.mark.parametrize(("key", "status"), [("\3", 130), ("\4", 1)])
def test_who_breaks_off_has_changed_nothing(key: str, status: int, box: tuple[str, ...]) -> None:
    terminal = Terminal(*box, "--port", "/dev/robot")
    terminal.answer(key)
    ended, said = terminal.end()
    assert ended == status, said
    assert "Traceback" not in said
    assert list(Path(box[1]).parent.iterdir()) == []


def test_nobody_is_asked_where_nothing_could_be_written(box: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    Path(box[1]).write_text("# mine")
    with pytest.raises(ConfigError, match="a configuration already"):
        cli.main(box)
    Path(box[1]).unlink()
    Path(box[1]).parent.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigError, match="others could replace"):
        cli.main(box)


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("port", "robot", "no serial device"),
        ("camera", ["192.168.1.20"], "no camera"),
        ("key", "0" * 64, "no public key"),
        ("key", KEY, "demonstration's key"),
        ("key", None, "--key is missing"),
    ],
)
def test_an_answer_that_cannot_be_is_refused(option: str, value: object, why: str) -> None:
    given = {"port": "/dev/robot", "camera": ["cam0=tcp://10.0.0.1:5555"], "key": LINE_PUBLIC, "bundle": None, option: value}
    with pytest.raises(ConfigError, match=why):
        cell_answers(argparse.Namespace(**given))
