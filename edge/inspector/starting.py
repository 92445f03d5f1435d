"""From the configuration to engines that proved themselves: the active bundle or, aloud, the one before it; faults reach the gate."""

from __future__ import annotations

import logging
import time

from edge.bundle import Bundle
from edge.bundles.opening import open_configured, open_spare
from edge.bundles.starts import Starts
from edge.config import Config
from edge.errors import BundleError, EngineError, KnownAnswerError
from edge.inspector.alive import STEP_S
from edge.inspector.announcing import Announcer
from edge.inspector.loader import Loaded
from edge.inspector.proving import hold_to_budget, load_proved
from edge.inspector.startup import Contract
from edge.notify import Notifier

log = logging.getLogger("cordon.inspector")


def starts_of(config: Config) -> Starts:
    """The count of starts that never came through, beside the gate's socket; nothing is counted where one file is the bundle."""
    return Starts(config.gate.socket.with_name("inspector.starts") if config.inspector.bundles is not None else None)


class Starting:
    """Loads while nothing is judged yet; between its steps the gate and the service manager hear that loading goes on."""

    def __init__(self, config: Config, announcer: Announcer, notifier: Notifier | None) -> None:
        self._whole, self._config, self._announcer, self._notifier = config, config.inspector, announcer, notifier
        self.contract: Contract | None = None
        """What the bundle that was loaded takes of the budget at worst."""
        self._starts = starts_of(config)

    def load(self) -> Loaded:
        """Every engine, proved. Raises BundleError, KnownAnswerError or EngineError once the gate was told."""
        try:
            return self._load_active()
        except (BundleError, KnownAnswerError, EngineError) as exc:
            self._announcer.tell_fault(exc)
            raise

    def _load_active(self) -> Loaded:
        begun = False
        try:
            bundle = open_configured(self._config)
            self._starts.begin(bundle.hash)
            begun = True
            loaded = self._prove(bundle)
        except (BundleError, KnownAnswerError, EngineError) as exc:
            spare = open_spare(self._config, exc)
            if begun or spare is None:
                self._starts.through()
            if spare is None:
                raise
            bundle, self._announcer.notice = spare
        else:
            self._starts.through()
            return loaded
        log.error("%s", self._announcer.notice)
        self._announcer.tell_notice()
        return self._prove(bundle)

    def _prove(self, bundle: Bundle) -> Loaded:
        loaded = load_proved(bundle, self._whole, progress=self._progress)
        say = self._announcer.milestone
        self.contract = hold_to_budget(loaded, bundle, self._whole, say=say, between=self._goes_on)
        return loaded

    def _progress(self, step: str) -> None:
        self._announcer.milestone(step)
        self._goes_on()

    def _goes_on(self) -> None:
        if self._notifier is not None:
            self._notifier.extend(STEP_S)
        self._announcer.keep_connected()
        self._announcer.tell_state(time.monotonic_ns(), camera_alive=False)
