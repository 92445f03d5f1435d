import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.notify import NEVER_NS, Notifier

S = 10**9


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening manager and the NOTIFY_SOCKET it would set."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name if request.param == "path" else f"\0{name}")
        listener.setblocking(False)
        yield listener, name if request.param == "path" else f"@{name}"


def heard(listener: socket.socket) -> list[str]:
    lines: list[str] = []
    while True:
        try:
            lines.append(listener.recv(4096).decode())
        except BlockingIOError:
            return lines


def test_states_arrive_in_order_on_paths_and_abstract_names(manager: tuple[socket.socket, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1]})
    notifier.extend(2.5)
    notifier.ready("serving")
    notifier.reloading("reading it again", 5_000_999)
    notifier.status("judging")
    notifier.stopping()
    notifier.close()
    notifier.status("nobody hears this")
    assert heard(manager[0]) == [
        "EXTEND_TIMEOUT_USEC=2500000",
        "READY=1\nSTATUS=serving",
        "RELOADING=1\nMONOTONIC_USEC=5000\nSTATUS=reading it again",
        "STATUS=judging",
        "STOPPING=1\nSTATUS=stopping",
    ]


def test_the_watchdog_is_fed_four_times_within_its_limit(manager: tuple[socket.socket, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1], "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())})
    notifier.ready("")
    heard(manager[0])
    fed = [tenth for tenth in range(1_000, 1_120) if (notifier.alive(tenth * S // 10), heard(manager[0]))[1] == ["WATCHDOG=1"]]
    assert fed == [1_000, 1_020, 1_040, 1_060, 1_080, 1_100]
    notifier.close()


@pytest.mark.parametrize("values", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}])
def test_without_a_watchdog_of_this_process_nothing_is_fed(manager: tuple[socket.socket, str], values: dict[str, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1], **values})
    notifier.ready("up")
    for second in range(9):
        notifier.alive(second * S)
    assert heard(manager[0]) == ["READY=1\nSTATUS=up"]
    assert notifier._due_ns == NEVER_NS
    notifier.close()


def test_without_a_manager_nothing_is_opened_and_nothing_is_due() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000"})
    notifier.ready("up")
    notifier.extend(1)
    notifier.alive(S)
    assert (notifier.listening, notifier._due_ns) == (False, NEVER_NS)
    notifier.close()


def test_a_manager_that_is_away_or_full_delays_nobody_and_is_told_later(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "4000000"})
    notifier.ready("up")
    notifier.status("judging")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.setblocking(False)
        notifier.alive(5 * S)
        assert heard(listener) == ["READY=1\nSTATUS=up\nSTATUS=judging", "WATCHDOG=1"]
        for second in range(6, 2_000):
            notifier.alive(second * S)
        waiting = len(heard(listener))
        assert 1 <= waiting < 1_000, "the kernel's queue was full, and nobody waited for it"
        notifier.alive(2_000 * S)
        assert heard(listener) == ["WATCHDOG=1"], "a feed that was not taken is tried again with the next step"
    notifier.close()


def test_what_a_manager_never_took_is_not_said_after_the_end(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    notifier.ready("up")
    notifier.close()
    assert (notifier.listening, notifier._due_ns) == (False, NEVER_NS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        notifier.alive(NEVER_NS)
        assert heard(listener) == []


def test_asking_for_time_again_and_again_makes_no_message_too_long_for_a_manager_that_is_back(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    for _ in range(1_000):
        notifier.extend(300)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        notifier.extend(300)
        assert heard(listener) == ["EXTEND_TIMEOUT_USEC=300000000"]
    notifier.close()


def test_a_status_cannot_forge_a_second_field(manager: tuple[socket.socket, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1]})
    notifier.status("part\nREADY=1\x1b[0m" + "x" * 500)
    (line,) = heard(manager[0])
    assert line.startswith("STATUS=part READY=1 [0mxxx")
    assert len(line) == 207
    notifier.close()


@pytest.mark.parametrize("values", [{"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "-5"}])
def test_what_is_no_form_of_systemd_is_named(values: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="unset"):
        Notifier(values)
