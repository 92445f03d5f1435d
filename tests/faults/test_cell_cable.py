from collections.abc import Callable
from pathlib import Path

import pytest

from faults.cell import byte_faults, cable_faults
from faults.cell.campaign import Share
from faults.cell.uart import Setting, misread
from faults.registry import Result

FEW: dict[Callable[[Share], Result], int] = {
    cable_faults._unplugged: 3,
    cable_faults._stale_bytes: 2,
    cable_faults._noise: 20,
    cable_faults._noise_without_end: 1,
    cable_faults._echo: 30,
    byte_faults._wrong_rate: 1,
    byte_faults._garbage: 10,
    byte_faults._latency_timer: 6,
    byte_faults._every_byte: 40,
    byte_faults._flipped_bits: 20,
}


@pytest.mark.parametrize("fault", FEW, ids=lambda fault: fault.__name__)
def test_no_fault_of_the_cable_lets_a_bad_weld_pass_or_loses_a_record(fault: Callable[[Share], Result], tmp_path: Path) -> None:
    found = fault(Share(folder=tmp_path / "c", seed=5, times=FEW[fault], name="quick"))
    assert found.passed, found.why_not()


def test_a_uart_reads_what_its_own_settings_sent() -> None:
    data = bytes(range(256))
    for parity in ("none", "even", "odd"):
        setting = Setting(parity=parity)
        assert misread(data, setting, setting) == data


@pytest.mark.parametrize("other", [Setting(baudrate=57_600), Setting(baudrate=230_400), Setting(parity="even"), Setting(parity="odd")])
def test_a_uart_of_other_settings_reads_no_frame(other: Setting) -> None:
    frame = b"$RH,5f0c91d2,00000000,1,1,1,0000,H,260*0123ABCD\r"
    assert frame not in misread(frame, other, Setting())
    assert frame not in misread(frame, Setting(), other)
