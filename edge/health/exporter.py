"""`cordon run metrics`: a process that reads the health files whenever Prometheus asks, and can touch nothing."""

from __future__ import annotations

import argparse
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from types import FrameType
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from edge.config import Config, MetricsConfig, load_config
from edge.errors import ConfigError, CordonError
from edge.health.box import Gpus, temperatures
from edge.health.look import Look, look
from edge.health.metrics import METRICS
from edge.health.samples import cumulative, histograms, samples

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

HEAT_EVERY_S = 5.0
"""Sensors are read at most this often."""


class Heat:
    """The box's temperatures, a few seconds old at most."""

    def __init__(self, gpus: Gpus) -> None:
        self._gpus, self._read_s = gpus, float("-inf")
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def read(self) -> dict[str, float]:
        """Degrees Celsius by sensor."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._read_s >= HEAT_EVERY_S:
                self._last, self._read_s = {**temperatures(), **self._gpus.temperatures()}, now_s
            return self._last


def collector(see: Callable[[], Look], heat: Callable[[], dict[str, float]]) -> Collector:
    """What a registry asks: every name of METRICS, with whatever values there are now. Raises CordonError without prometheus-client."""
    try:
        from prometheus_client.registry import Collector  # noqa: PLC0415 - the one command that needs it
    except ModuleNotFoundError as exc:
        remedy = "Install cordon[metrics], or leave cordon-metrics.service disabled"
        raise CordonError("the exporter needs a package that is not installed here", seen=exc.name, remedy=remedy) from exc

    class Box(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from families(see(), heat())

        def describe(self) -> Iterator[Metric]:
            return iter(())

    return Box()


def families(seen: Look, temperatures_c: dict[str, float]) -> Iterator[Metric]:
    """The families of METRICS in that order, those without a value too."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily  # noqa: PLC0415 - as above

    found: dict[str, dict[tuple[str, ...], float]] = {}
    for name, labels, value in samples(seen, temperatures_c):
        found.setdefault(name, {})[labels] = value
    for name, kind, text, labels in METRICS:
        if kind == "histogram":
            histogram = HistogramMetricFamily(name, text, labels=labels)
            for stage, times in histograms(seen):
                buckets = [(repr(bound), float(count)) for bound, count in cumulative(times)] + [("+Inf", float(times.count))]
                histogram.add_metric(stage, buckets, times.sum_ns / 1e9)
            yield histogram
            continue
        family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, text, labels=labels)
        for values, value in found.get(name, {}).items():
            family.add_metric(values, value)
        yield family


def metrics_main(argv: Sequence[str]) -> int:
    """`cordon run metrics [--config FILE] [--textfile PATH]`: gives the box's numbers to Prometheus until SIGTERM."""
    parser = argparse.ArgumentParser(prog="cordon run metrics", description=metrics_main.__doc__)
    parser.add_argument("--config", type=Path, default=Path("/etc/cordon/cordon.toml"))
    parser.add_argument("--textfile", type=Path, help="also write them there, for node_exporter (default: metrics.textfile)")
    parser.add_argument("--once", action="store_true", help="print them once and end")
    arguments = parser.parse_args(argv)
    config = load_config(arguments.config)
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    with ExitStack() as opened:
        exporter = Exporter(config, arguments.textfile or config.metrics.textfile)
        opened.callback(exporter.close)
        if arguments.once:
            print(exporter.text(), end="")
            return 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        exporter.serve(stop)
    return 0


def server_at(address: str, port: int, registry: CollectorRegistry) -> WSGIServer:
    """Listens, and answers each request in a thread of its own once it serves. Raises OSError.

    The library's own server, as Python's `http.server`, asks the name service for the name of its address before it listens, which
    can take long where no name service answers, as on a box without internet.
    """
    from prometheus_client import make_wsgi_app  # noqa: PLC0415 - as above

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def server_bind(self) -> None:
            TCPServer.server_bind(self)
            self.server_name, self.server_port = address, port
            self.setup_environ()

    class Silent(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            """A request every few seconds is nothing to tell."""

    server = Server((address, port), Silent)
    server.set_app(make_wsgi_app(registry))
    return server


class Exporter:
    """Reads on request. Raises CordonError where prometheus-client is missing."""

    def __init__(self, config: Config, textfile: Path | None) -> None:
        folder = config.gate.socket.parent
        self._config: MetricsConfig = config.metrics
        self._textfile, self._gpus = textfile, Gpus()
        box = collector(lambda: look(folder), Heat(self._gpus).read)
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - as above

        self._registry = CollectorRegistry()
        self._registry.register(box)

    def text(self) -> str:
        """The exposition format, as Prometheus reads it."""
        from prometheus_client import generate_latest  # noqa: PLC0415 - as above

        return generate_latest(self._registry).decode()

    def serve(self, stop: threading.Event) -> None:
        """Answer requests and write the text file until `stop`. Raises ConfigError where it cannot listen or write."""
        end = self._listen() if self._config.port else None
        try:
            self._write()
            while not stop.wait(self._config.every_s):
                self._write()
        finally:
            if end is not None:
                end()

    def close(self) -> None:
        """Let the GPU's library go."""
        self._gpus.close()

    def _listen(self) -> Callable[[], None]:
        """Answer from threads of their own; returns what ends that."""
        address, port = self._config.listen, self._config.port
        try:
            server = server_at(address, port, self._registry)
        except OSError as exc:
            remedy = "Choose an address of this machine and a free port: [metrics] listen, port"
            raise ConfigError(f"the exporter cannot listen on {address} port {port}", seen=exc.strerror, remedy=remedy) from exc
        thread = threading.Thread(target=server.serve_forever, name="exporter", daemon=True)
        thread.start()

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end

    def _write(self) -> None:
        if self._textfile is None:
            return
        from prometheus_client import write_to_textfile  # noqa: PLC0415 - as above

        try:
            write_to_textfile(str(self._textfile), self._registry)
        except OSError as exc:
            remedy = "Its folder must be there and writable by the exporter: a drop-in with ReadWritePaths=, docs/health.md"
            raise ConfigError(f"the numbers cannot be written to {self._textfile}", seen=exc.strerror, remedy=remedy) from exc
