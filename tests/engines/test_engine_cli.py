import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from edge.cli import main
from edge.engines import prove
from edge.engines.backend import Backend
from edge.engines.box import Gpu
from edge.engines.cli import batches
from edge.engines.show import Bars


def engine(*words: str) -> int:
    return main(["engine", *words])


RUN_AND_TELL = """
import sys
from edge.cli import main
status = main(sys.argv[1:])
print(sorted(name for name in sys.modules if "tensorrt" in name))
sys.exit(status)
"""


@pytest.fixture
def built(tmp_path: Path, rtx: Backend) -> Path:
    tiny.TinyBundle(router=False).save(tmp_path / "t.cordon")
    assert engine("build", str(tmp_path / "t.cordon"), "--key", tiny.PUBLIC, "--out", str(tmp_path / "e"), "--backend", rtx.name) == 0
    return tmp_path / "e"


def test_building_prints_a_line_per_engine(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("build", str(built.parent / "t.cordon"), "--key", tiny.PUBLIC, "--out", str(built), "--backend", "tensorrt_rtx")
    capsys.readouterr()
    assert engine(*words, "--force") == 0
    first, second, unsigned = capsys.readouterr().out.splitlines()
    assert unsigned.startswith("2 of 2 engines are unsigned")
    assert first.startswith("[1/2] T2.T2-0.b1: built, batch 1, ")
    assert second.startswith("[2/2] T5.T5-0.b1: built, batch 1, ")
    assert len(list(built.glob("*.engine"))) == 2


def test_a_list_tells_what_is_there_and_why_it_does_not_fit(
    built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capsys.readouterr()
    (built / "T5.T5-0.b1.json").unlink()
    for device, verdict in (
        (Gpu("RTX 4090", "8.9", "13.0"), "fits this box"),
        (Gpu("H200", "9.0", "13.0"), "does not fit: built for SM80, SM86, SM89, SM120, SM121; this GPU is SM90"),
        (None, "does not fit: no usable GPU here"),
    ):
        monkeypatch.setattr(prove, "gpu", lambda device=device: device)
        assert engine("list", str(built)) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.endswith(verdict)
        assert second == "T5.T5-0.b1: unusable, engine and record cannot be read or do not belong together; build again"


def test_an_engine_of_another_version_does_not_fit(built: Path, capsys: pytest.CaptureFixture[str], rtx: Backend) -> None:
    capsys.readouterr()
    path = built / "T2.T2-0.b1.json"
    path.write_text(path.read_text().replace(rtx.version, "1.6.0.1"))
    assert engine("list", str(built)) == 0
    assert f"does not fit: version is {rtx.version}, built for 1.6.0.1" in capsys.readouterr().out


def test_listing_a_folder_that_is_not_there_says_how_to_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert engine("list", str(tmp_path / "none")) == 1
    assert "cordon engine build" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("offset", "error"),
    [(-2, "BundleContentError"), (200, "BundleSignatureError"), (50, "BundleSignatureError"), (0, "BundleFormatError")],
)
def test_a_sabotaged_bundle_is_refused_before_any_parser_is_loaded(tmp_path: Path, offset: int, error: str) -> None:
    path = tiny.TinyBundle().save(tmp_path / "t.cordon")
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    command = [sys.executable, "-c", RUN_AND_TELL, "engine", "build", str(path), "--key", tiny.PUBLIC, "--out", str(tmp_path / "e")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert error in done.stderr
    assert done.stdout == "[]\n"
    assert not (tmp_path / "e").exists()


def test_refusals_come_as_one_line(tmp_path: Path, rtx: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny.TinyBundle().save(tmp_path / "t.cordon")
    words = ("build", str(path), "--key", tiny.PUBLIC, "--out", str(tmp_path / "e"))
    assert engine(*words, "--device", "dla") == 1
    assert "for the GPU only" in capsys.readouterr().err
    assert engine(*words, "--backend", rtx.name, "--device-target", "SM87") == 1
    assert "seen: SM87" in capsys.readouterr().err


def test_an_interrupt_ends_with_130_and_says_what_is_left(
    tmp_path: Path, rtx: Backend, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    path = tiny.TinyBundle().save(tmp_path / "t.cordon")
    monkeypatch.setattr("edge.engines.plan.build_engine", interrupted)
    assert engine("build", str(path), "--key", tiny.PUBLIC, "--out", str(tmp_path / "e"), "--backend", rtx.name) == 130
    assert "are as they were" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "numbers"), [("1", (1,)), ("1,4", (1, 4))])
def test_batches_are_numbers_with_commas(text: str, numbers: tuple[int, ...]) -> None:
    assert batches(text) == numbers


@pytest.mark.parametrize("text", ["", "0", "65", "1;4"])
def test_other_batches_are_wrong_usage(text: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        engine("build", "b", "--key", "k", "--out", str(tmp_path), "--batch", text)
    assert caught.value.code == 2


def test_a_terminal_sees_the_phases_of_the_build(tmp_path: Path, rtx: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    import tqdm  # noqa: PLC0415

    from edge.bundle import open_bundle  # noqa: PLC0415
    from edge.engines.plan import build_bundle  # noqa: PLC0415
    from edge.engines.store import EngineStore  # noqa: PLC0415

    opened = open_bundle(tiny.TinyBundle(router=False).save(tmp_path / "t.cordon"), (tiny.PUBLIC,))
    bars = Bars(lambda **settings: tqdm.tqdm(**settings, mininterval=0))
    build_bundle(opened, EngineStore(tmp_path / "e"), reporter=bars, backend=rtx.name)
    captured = capsys.readouterr()
    assert "[2/2] T5.T5-0.b1" in captured.err
    assert "Timing tactics" in captured.err
    assert captured.out.count(": built, ") == 2


CONFIG = """
[gate]
port = "none"
records = "r.db"
socket = "s"
[inspector]
bundle = "{folder}/t.cordon"
trusted_keys = ["{key}"]
backend = "{backend}"
[inspector.gpu]
engines = "{folder}/e"
box_keys = ["{key}"]
[[inspector.camera]]
name = "cam0"
endpoint = "ipc:///none"
"""


def test_the_configuration_names_everything_that_is_built(tmp_path: Path, rtx: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.TinyBundle(router=False).save(tmp_path / "t.cordon")
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, key=tiny.PUBLIC, backend=rtx.name))
    assert engine("build", "--config", str(tmp_path / "c.toml")) == 0
    assert len(list((tmp_path / "e").glob("*.engine"))) == 2
    assert capsys.readouterr().out.startswith("[1/2] T2.T2-0.b1: built")


def test_a_configuration_for_the_cpu_leaves_nothing_to_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, key=tiny.PUBLIC, backend="openvino"))
    assert engine("build", "--config", str(tmp_path / "c.toml")) == 0
    assert "nothing to build" in capsys.readouterr().out
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    "words",
    [("b", "--key", "k"), ("b", "--out", "o"), ("--key", "k", "--out", "o"), ("--config", "c", "--key", "k"), ("--config", "c", "b")],
)
def test_a_build_is_named_by_its_words_or_by_the_configuration_and_never_by_both(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        engine("build", *words)
    assert caught.value.code == 2
