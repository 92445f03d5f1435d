"""`cordon status`: the answer, its reason, what to do, and the shape of its JSON."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from health_kit import MS, Box, gate_state, inspector_state, refused

from edge.contract import Reason
from edge.gate.verdict import BEFORE_FRAME
from edge.health.look import OF_THE_GATE, REMEDIES, UNJUDGED, answer, look
from edge.health.report import Report, report
from edge.health.screen import page
from edge.health.status import folder_of, status_main
from edge.health.words import ArchiveShown, Camera, GateState, InspectorSaid, InspectorShown, Objection, Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.end()


def first(box: Box) -> str:
    return shown(box).splitlines()[0]


def shown(box: Box) -> str:
    return page(report(look(box.folder), {"Package id 0": 61.0}))


def test_an_accepting_line_says_so_and_fits_a_screen(box: Box) -> None:
    text = shown(box.say().work())
    lines = text.splitlines()
    assert lines[0] == "ACCEPTING"
    assert len(lines) <= 30
    assert max(len(line) for line in lines) <= 120
    assert "ACCEPT 900, DEFECT 100" in text
    assert "NO_FRAME 2" in text
    assert "5 broken frames" in text
    assert "cam0       alive" in text
    assert "0 refused, 3 lost" in text
    assert "61 °C" in text


def test_the_latencies_are_those_that_were_counted(box: Box) -> None:
    (line,) = [line for line in shown(box.say().work()).splitlines() if line.startswith("trigger to verdict sent")]
    p50, p99, p999, largest, count = (float(word) for word in line.split()[-5:])
    assert 11 <= p50 <= 11.35
    assert 20 <= p99 <= 20.7
    assert 20 <= p999 <= 20.7
    assert (largest, count) == (150.0, 1000)


STRANGE = Camera(name="cam1", refused=3, refusal="10.0.0.9 with the unknown key")
SILENT = inspector_state(ready=False, cameras=(Camera(name="cam0", heard_ns=time.monotonic_ns() - 7_000 * MS), STRANGE))
LOADING = InspectorSaid(pid=2)


@pytest.mark.parametrize(
    ("state", "inspector", "begins"),
    [
        (refused("LATCHED", latched=("too much noise", "an escape")), None, "NOT ACCEPTING: latched: too much noise (and 1 more)"),
        (refused("NOT_READY"), SILENT, "NOT ACCEPTING: camera cam0 has been silent for "),
        (refused("NOT_READY"), SILENT, "; camera cam1 was never heard, 3 refused, the last: 10.0.0.9 with the unknown key"),
        (
            refused("NOT_READY", "BUNDLE_FAULT", inspector=LOADING),
            inspector_state(step="T2 compiled"),
            "NOT ACCEPTING: the inspector is not ready yet: T2 compiled",
        ),
        (refused("SESSION_LOST"), None, "NOT ACCEPTING: no session with the robot"),
        (refused("SESSION_LOST", port_open=False), None, "NOT ACCEPTING: the robot's port /dev/robot is gone"),
        (
            refused("RECORD_FAULT", store=Store(failing=True, backlog=4, free_bytes=0)),
            None,
            "NOT ACCEPTING: records cannot be written (0 MiB were free when last asked); 4 rows wait",
        ),
        (refused("RECORD_FAULT", store=Store(reserve_held=False)), None, "NOT ACCEPTING: records are written, but the disk's reserve"),
        (refused("INSPECTOR_DOWN"), inspector_state(step="T2 compiled"), "lives, but the gate does not hear it: T2 compiled"),
        (refused("SESSION_LOST", "LATCHED", latched=("x",)), None, "NOT ACCEPTING: latched: x (and 1 more)"),
        (refused("CHALLENGE", details="overdue for 3 min"), None, "NOT ACCEPTING: overdue for 3 min"),
        (refused("RECIPE", details="the robot has named none"), None, "NOT ACCEPTING: the robot has named none"),
        (refused("SESSION_LOST", session_lost="hello refused"), None, "NOT ACCEPTING: no session with the robot: hello refused"),
        (
            gate_state(accepting=False, objections=(Objection(name="same configuration", reason="NOT_READY", detail="a, not b"),)),
            SILENT,
            "NOT ACCEPTING: gate and inspector do not belong together: a, not b",
        ),
    ],
)
def test_the_first_line_names_what_to_see_to_first(box: Box, state: GateState, inspector: InspectorShown | None, begins: str) -> None:
    box.say(msgspec.structs.replace(state, at_ns=time.monotonic_ns()), inspector)
    assert begins in first(box)
    assert shown(box).splitlines()[1].startswith("  do:   ")


def test_what_does_not_stop_the_line_yet_is_noted_below_the_answer(box: Box) -> None:
    archive = ArchiveShown(lost=3)
    box.say(gate_state(store=Store(free_bytes=1 << 20, lost=2), log_dropped=9), inspector_state(notice="version 6 judges", archive=archive))
    notes = [line for line in shown(box).splitlines() if line.startswith("  note: ")]
    assert first(box) == "ACCEPTING"
    for number, words in enumerate(("1 MiB left for records", "2 rows", "9 lines", "version 6 judges", "3 images")):
        assert words in notes[number]
    assert len(notes) == 5
    assert "note: " not in shown(box.say())


def test_two_configurations_are_no_matter_of_the_camera(box: Box) -> None:
    box.say(gate_state(accepting=False, objections=(Objection(name="same configuration", reason="NOT_READY", detail="a, not b"),)))
    remedy = shown(box).splitlines()[1]
    assert "camera" not in remedy
    assert "reload cordon-gate" in remedy


def test_every_remedy_by_a_conditions_name_has_its_condition() -> None:
    assert set(OF_THE_GATE) <= {condition.name for condition in BEFORE_FRAME}


def test_a_configuration_that_was_refused_is_noted(box: Box) -> None:
    box.say(gate_state(reload="refused, 3f9a rules on: line 7"))
    assert "  note: the configuration was read again: refused, 3f9a rules on: line 7" in shown(box).splitlines()


def test_a_camera_without_keys_is_no_refusal(box: Box) -> None:
    box.inspector.tables["events"].add("cam0", "CAMERA_OPEN")
    assert "0 refused" in shown(box.say())


def test_a_line_without_room_for_another_part_says_so(box: Box) -> None:
    box.say(gate_state(parts_full=True))
    assert first(box).startswith("ACCEPTING, but so many parts wait for their part verdict")
    assert shown(box).splitlines()[1] == "  do:   The robot asks for no part verdict: docs/parts.md"


def test_nobody_was_heard_never_ago(box: Box) -> None:
    box.say(gate_state(robot_ns=0), inspector_state(cameras=(Camera(name="cam0"),)))
    assert "never ago" not in shown(box)
    assert shown(box).count("never heard") == 2


def test_a_dead_inspector_is_told_from_one_that_never_was(box: Box) -> None:
    box.say(refused("INSPECTOR_DOWN", inspector=None))
    box.end("inspector")
    assert f"no inspector runs: the last one (pid {os.getpid()}) ended at" in first(box)
    (box.folder / "inspector.health").unlink()
    assert first(box) == "NOT ACCEPTING: no inspector is connected"


def test_nobody_to_ask_is_unknown_and_not_a_refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_main(["--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().out.startswith("UNKNOWN: no gate has run here")


def test_a_gate_whose_loop_stands_still_is_not_accepting(box: Box) -> None:
    box.say()
    box.gate.step(time.monotonic_ns() - 9_000 * MS, time.time_ns())
    assert answer(look(box.folder))[0] == "not_accepting"
    assert "has stood still for 9.0 s" in first(box)


def test_a_state_that_is_old_answers_nothing(box: Box) -> None:
    box.say(gate_state(at_ns=time.monotonic_ns() - 9_000 * MS))
    box.gate.step(time.monotonic_ns(), time.time_ns())
    assert answer(look(box.folder))[0] == "unknown"


def test_a_state_of_another_release_is_read_as_far_as_its_words_are_known(box: Box) -> None:
    state = {**msgspec.to_builtins(gate_state()), "moon": "full"}
    del state["alarm_mb"]
    box.gate.publish(json.dumps(state).encode())
    assert answer(look(box.folder))[0] == "accepting"
    box.gate.publish(json.dumps({**state, "accepting": "perhaps"}).encode())
    assert answer(look(box.folder))[0] == "unknown"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_read_is_told_which_group_may() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        box = Box(folder).say()
        code = "import os\nfrom pathlib import Path\nfrom edge.health.look import answer, look\n"
        code += f"os.setgroups([]); os.setgid(65534); os.setuid(65534)\nprint(answer(look(Path({name!r}))))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        box.end()
    assert "unknown" in done.stdout
    assert "group cordon-read" in done.stdout


def test_json_has_the_documented_shape(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    box.say().work(20)
    assert status_main(["--folder", str(box.folder), "--json"]) == 0
    said = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert (said.schema, said.answer, said.gate_process.stages["sent"].count) == (1, "accepting", 20)
    assert json.loads((ROOT / "docs/status.schema.json").read_text()) == msgspec.json.schema(Report), "write docs/status.schema.json anew"


def test_watching_goes_on_until_it_is_interrupted(box: Box) -> None:
    box.say()
    command = [sys.executable, "-m", "edge", "status", "--folder", str(box.folder), "--watch", "0.1"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert watching.stdout is not None
    answers = 0
    for line in watching.stdout:
        answers += line == "ACCEPTING\n"
        if answers == 3:
            break
    watching.send_signal(2)
    assert watching.wait(20) == 130
    watching.stdout.close()


def test_the_folder_is_the_sockets_and_a_broken_configuration_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cordon.toml"
    path.write_text('[gate]\nsocket = "/somewhere/gate.sock"\nbudget_ms = "wrong"\n')
    assert folder_of(path) == Path("/somewhere")
    for text in ("[gate", "gate = 3", "[gate]\n", "[gate]\nsocket = 3"):
        path.write_text(text)
        assert folder_of(path) in (Path("/run/cordon"), Path())
    assert folder_of(tmp_path / "none") == Path("/run/cordon")


def test_every_remedy_belongs_to_a_reason() -> None:
    assert set(REMEDIES) - set(OF_THE_GATE) <= {reason.value for reason in Reason}
    assert set(UNJUDGED) <= {reason.value for reason in Reason}
