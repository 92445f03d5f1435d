"""What the machine itself says: temperatures of hwmon, of thermal zones (a Jetson's too) and, where its driver is there, of NVIDIA GPUs.

Read by whoever shows them, never by a daemon.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

SYS = Path("/sys/class")
DRIVER = Path("/dev/nvidiactl")
"""There where NVIDIA's driver is and may be used."""
SOME = 64
"""Sensors at most: labels of metrics."""


def temperatures(root: Path = SYS) -> dict[str, float]:
    """Degrees Celsius by sensor; empty where there are none, as in a virtual machine."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("thermal/thermal_zone*")):
        _note(found, _text(zone / "type") or zone.name, zone / "temp")
    for value in sorted(root.glob("hwmon/hwmon*/temp*_input")):
        chip = _text(value.with_name("name")) or value.parent.name
        label = _text(value.with_name(value.name.replace("_input", "_label"))) or value.name.removesuffix("_input")
        _note(found, f"{chip} {label}", value)
    return found


def _note(found: dict[str, float], name: str, path: Path) -> None:
    """A sensor that cannot be read now (a powered-down GPU's zone, a disk asleep) is left out."""
    with suppress(ValueError):
        if len(found) < SOME:
            found.setdefault(name, int(_text(path)) / 1000.0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


class Gpus:
    """NVIDIA's management library, which comes with the driver; empty without it. NVML's names: nvmlDeviceGetTemperature and others."""

    def __init__(self, driver: Path = DRIVER) -> None:
        self._library: Any = None
        self._devices: list[Any] = []
        if driver.exists():
            # Looked for only where it can be of use: the exporter's sandbox has neither the device nor memory for ctypes' callbacks.
            import ctypes  # noqa: PLC0415

            self._c = ctypes
            with suppress(OSError, AttributeError):
                library = ctypes.CDLL("libnvidia-ml.so.1")
                if library.nvmlInit_v2() == 0:
                    self._library = library
                    self._devices = self._handles()

    def temperatures(self) -> dict[str, float]:
        """Degrees Celsius of each GPU's core."""
        found: dict[str, float] = {}
        for number, device in enumerate(self._devices):
            value = self._c.c_uint()
            if self._library.nvmlDeviceGetTemperature(device, 0, self._c.byref(value)) == 0:
                found[f"gpu{number}"] = float(value.value)
        return found

    def close(self) -> None:
        """Let the library go."""
        if self._library is not None:
            self._library.nvmlShutdown()
            self._library, self._devices = None, []

    def _handles(self) -> list[Any]:
        count = self._c.c_uint()
        if self._library.nvmlDeviceGetCount_v2(self._c.byref(count)) != 0:
            return []
        found = []
        for number in range(min(count.value, 16)):
            device = self._c.c_void_p()
            if self._library.nvmlDeviceGetHandleByIndex_v2(number, self._c.byref(device)) == 0:
                found.append(device)
        return found
