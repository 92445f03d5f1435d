"""Log lines never make the caller wait, never forge one another, and say what was left out."""

from __future__ import annotations

import logging
import os
import re
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge import log as module
from edge.log import BURST, ERROR, MAX_WAITING, WARNING, Log
from edge.log_handler import Forward, log_through

LINE = re.compile(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=(\w+) from=room (.*)\n\Z")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    with suppress(OSError):
        os.close(reading)
    # A log's thread lives on, and what it has still to tell must not come out of the next test's pipe.
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), writing)


def read(reading: int) -> list[str]:
    os.set_blocking(reading, False)
    data = b""
    while True:
        try:
            more = os.read(reading, 1 << 20)
        except BlockingIOError:
            return data.decode("ascii").splitlines(keepends=True)
        data += more


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_line_is_logfmt_with_its_level_and_fields(pipe: tuple[int, int]) -> None:
    log = Log("room", fd=pipe[1])
    log.say("a frame came late", kind="frame", level=WARNING, reason="FRAME_LATE", count=3, camera="", part=None)
    assert log.flush(20)
    found = LINE.match(read(pipe[0])[0])
    assert found is not None
    assert found.groups() == ("warning", 'kind=frame reason=FRAME_LATE count=3 text="a frame came late"')


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "x"', r'"say \"x\""'),
        ("a\\b", r'"a\\b"'),
        ("\n12:00 level=error forged", r'"\n12:00 level=error forged"'),
        ("\x1b[2J\x00\x7f", r'"\x1b[2J\x00\x7f"'),
        ("\u2028\u202eabc\ud800\U0010ffff", r'"\u2028\u202eabc\ud800\U0010ffff"'),
        ("a=b", '"a=b"'),
        ("%s {0} $(id)", '"%s {0} $(id)"'),
        ("x" * 20_000, "x" * 1_000),
    ],
)
def test_foreign_text_stays_one_value(pipe: tuple[int, int], text: str, written: str) -> None:
    log = Log("room", fd=pipe[1])
    log.say(text, kind="k", detail=text)
    assert log.flush(20)
    lines = read(pipe[0])
    assert len(lines) == 1
    assert lines[0].endswith(f"kind=k {'' if not text else f'detail={written} '}text={written}\n")


class Mute:
    def __str__(self) -> str:
        raise RuntimeError


def test_a_value_without_words_costs_neither_its_line_nor_those_after_it(pipe: tuple[int, int]) -> None:
    log = Log("room", fd=pipe[1])
    log.say("first", kind="k", detail=Mute())
    log.say("second", kind="k")
    assert log.flush(20)
    assert [line.split("kind=")[1] for line in read(pipe[0])] == [
        'k detail="(RuntimeError while it was put into words)" text=first\n',
        "k text=second\n",
    ]


@pytest.mark.parametrize("letter", ["\U0001f600", "\u2028", "\n", '"', "\\"])
def test_no_foreign_value_pushes_the_text_out_of_its_line(pipe: tuple[int, int], letter: str) -> None:
    log = Log("room", fd=pipe[1])
    foreign = letter * 1_000
    log.say("what happened", kind="k", camera=foreign, reason=foreign, part=foreign, weld=foreign)
    assert log.flush(20)
    (line,) = read(pipe[0])
    assert line.endswith('" text="what happened"\n')
    values = re.findall(r' \w+="((?:[^"\\]|\\.)*)"', line)
    assert len(values) == 5, "each value is closed, and no escape is cut in two"
    read_back = {value.encode("ascii").decode("unicode_escape") for value in values[:4]}
    assert len(read_back) == 1
    assert set(read_back.pop()) == {letter}
    assert 990 < len(values[0]) <= 1_000


def test_what_waits_for_a_reader_that_stopped_is_cut_to_what_a_line_can_hold(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"x" * 65_536)
    log = Log("room", fd=pipe[1])
    tracemalloc.start()
    try:
        for number in range(MAX_WAITING):
            log.say("z" * 65_000 + str(number), kind=str(number), detail="y" * 65_000 + str(number))
        waiting = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert waiting < 4_000_000
    os.close(pipe[0])
    until(lambda: log.flush(1))


def test_the_journal_gets_priorities_and_writes_the_time_itself(pipe: tuple[int, int]) -> None:
    status = os.fstat(pipe[1])
    log = Log("room", fd=pipe[1], environment={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    log.say("x", level=ERROR)
    assert log.flush(20)
    assert read(pipe[0]) == ["<3>from=room text=x\n"]
    other = Log("room", fd=pipe[1], environment={"JOURNAL_STREAM": "1:2"})
    other.say("x")
    assert other.flush(20)
    assert read(pipe[0])[0].startswith("time=")


def test_nobody_waits_for_a_reader_that_stopped_and_the_loss_is_told_when_it_is_back(pipe: tuple[int, int]) -> None:
    log = Log("room", fd=pipe[1])
    longest = 0.0
    for number in range(4_000):
        began = time.monotonic()
        log.say("y" * 900, kind=f"kind {number % 200}")
        longest = max(longest, time.monotonic() - began)
    assert longest < 1.0, "the pipe holds 64 KiB, and nobody reads"
    assert log.dropped > 4_000 - MAX_WAITING - 200
    assert not log.flush(0.5)
    began = time.monotonic()
    assert not log.flush(60.0), "it was waited for once"
    assert time.monotonic() - began < 30.0
    lost, lines = log.dropped, list[str]()

    def told() -> int:
        lines.extend(read(pipe[0]))
        return sum(int(number) for number in re.findall(r"kind=log dropped=(\d+)", "".join(lines)))

    until(lambda: told() == lost)
    log.say("back", kind="last")
    until(lambda: told() >= 0 and "kind=last text=back\n" in "".join(lines))
    assert len(lines) == 4_000 - lost + 1 + "".join(lines).count("kind=log")


def test_a_stopped_reader_does_not_hold_the_process_up_at_its_end(pipe: tuple[int, int]) -> None:
    code = "from edge.log import Log\nlog = Log('room')\nfor n in range(3000): log.say('z' * 900, kind=str(n % 90))\nlog.close(0.2)"
    code += "\nprint('done')"
    done = subprocess.run([sys.executable, "-c", code], stderr=pipe[1], stdout=subprocess.PIPE, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_what_cannot_be_written_is_counted_and_told_once_it_can(tmp_path: Path) -> None:
    file = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    log = Log("room", fd=file)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        for number in range(5):
            log.say(f"line {number}", kind="k")
        assert log.flush(20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.dropped == 4
    log.say("there is room again", kind="k")
    assert log.flush(20)
    lines = (tmp_path / "log").read_text().splitlines()
    os.close(file)
    assert [line.split("text=")[-1] for line in lines if "kind=" in line and "line 1" not in line] == [
        '"line 0"',
        '"lines could not be written and were left out"',
        '"there is room again"',
    ]
    assert "kind=log dropped=4" in lines[-2]
    assert [line.count("time=") for line in lines] == [1] * len(lines), "what was written in part has a line of its own"


def test_an_end_that_blocks_nobody_is_waited_for_by_the_logs_thread(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    assert os.write(pipe[1], b"x" * 65_536) == 65_536
    log = Log("room", fd=pipe[1])
    log.say("late", kind="k")
    time.sleep(0.1)
    assert os.read(pipe[0], 65_536) == b"x" * 65_536
    assert log.flush(20)
    assert read(pipe[0])[0].endswith("kind=k text=late\n")
    assert log.dropped == 0


def test_a_closed_end_raises_nothing(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    log = Log("room", fd=pipe[1])
    log.say("x")
    assert log.flush(20)
    assert log.dropped == 1


def test_a_kind_that_comes_too_often_is_cut_off_and_counted_and_no_other_kind_suffers(pipe: tuple[int, int]) -> None:
    log = Log("room", fd=pipe[1])
    for _ in range(1_000):
        log.say("flood", kind="noise")
    log.say("important", kind="latch")
    assert log.flush(20)
    text = "".join(read(pipe[0]))
    written, told = text.count("text=flood"), sum(int(number) for number in re.findall(r"suppressed=(\d+)", text))
    assert BURST <= written < 300
    assert written + told == 1_000
    assert "kind=latch text=important" in text
    assert log.dropped == 0


def test_the_next_line_of_a_kind_says_how_many_were_left_out(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TELL_S", 3_600.0)
    log = Log("room", fd=pipe[1])
    kind = log.admit("k", "k")
    assert kind is not None
    kind.left = 0.5
    log.say("left out", kind="k")
    log.say("left out", kind="k")
    kind.left = 1.0
    log.say("next", kind="k")
    assert log.flush(20)
    assert [line.split(" from=room ")[1] for line in read(pipe[0])] == ["kind=k suppressed=2 text=next\n"]


def test_limits_for_invented_kinds_do_not_grow_without_end(pipe: tuple[int, int]) -> None:
    log = Log("room", fd=pipe[1])
    for number in range(3_000):
        log.admit(f"kind {number}", "x")
    assert len(log._kinds) == module.MAX_KINDS


@pytest.fixture
def logger(pipe: tuple[int, int]) -> Iterator[tuple[logging.Logger, Log]]:
    log = Log("room", fd=pipe[1])
    logger, handler = logging.Logger("tests.log"), Forward(log)  # noqa: LOG001 - pytest listens at every registered one
    logger.addHandler(handler)
    yield logger, log
    handler.close()


def test_the_librarys_logging_is_forwarded_with_level_module_and_trace(pipe: tuple[int, int], logger: tuple[logging.Logger, Log]) -> None:
    try:
        int("two\nlines")
    except ValueError:
        logger[0].exception("it went %s", "wrong")
    assert logger[1].flush(20)
    (line,) = read(pipe[0])
    assert "level=error from=room kind=test_log trace=" in line
    assert r"ValueError: invalid literal for int() with base 10: 'two\\nlines'" in line
    assert line.endswith('text="it went wrong"\n')


@pytest.mark.parametrize(
    ("level", "name"), [(logging.CRITICAL, "fatal"), (logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info")]
)
def test_levels_of_the_library_are_those_of_the_journal(
    pipe: tuple[int, int], logger: tuple[logging.Logger, Log], level: int, name: str
) -> None:
    logger[0].log(level, "x")
    assert logger[1].flush(20)
    assert f" level={name} " in read(pipe[0])[0]


def test_a_line_that_is_left_out_is_not_put_into_words(logger: tuple[logging.Logger, Log]) -> None:
    shown: list[int] = []

    class Costly:
        def __str__(self) -> str:
            shown.append(1)
            return "costly"

    for _ in range(500):
        logger[0].warning("%s", Costly())
    assert BURST <= len(shown) < 300


def test_arguments_that_do_not_fit_raise_nothing(pipe: tuple[int, int], logger: tuple[logging.Logger, Log]) -> None:
    logger[0].warning("%d", "x")
    assert logger[1].flush(20)
    assert 'text="%d (TypeError while its arguments were put in)"' in read(pipe[0])[0]
    logger[0].warning(Mute())
    assert logger[1].flush(20)
    assert 'text="Mute (RuntimeError while its arguments were put in)"' in read(pipe[0])[0]


def test_every_logger_of_the_process_goes_through_one(pipe: tuple[int, int]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    log = Log("room", fd=pipe[1])
    root.handlers.clear()
    try:
        handler = log_through(log)
        logging.getLogger("cordon.inspector").info("hello %s", "there")
        handler.flush()
    finally:
        root.handlers[:], root.level = before, level
    assert read(pipe[0])[0].endswith('level=info from=room kind=test_log text="hello there"\n')


def test_the_module_brings_nothing_that_the_gate_has_to_wait_for() -> None:
    code = "import sys; import edge.log; print({'re', 'logging', 'asyncio'} & set(sys.modules) - {'re'})"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.stdout == "set()\n"
