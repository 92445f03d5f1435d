"""Hello and heartbeat: how a session with a robot that speaks begins, stays alive and ends; pure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edge.contract import Reason, Report
from edge.gate import messages
from edge.gate.case import Case, Discard
from edge.gate.messages import FEATURE_PARTS, FEATURE_TWICE, Heartbeat, Hello, Message, Nak, Refusal, State
from edge.gate.parts import Parts
from edge.gate.recipe import Recipe
from edge.gate.rows import Disposition
from edge.gate.session import GateSession
from edge.gate.settings import NS_PER_MS, Settings
from edge.gate.verdict import Asked, refuse_early

if TYPE_CHECKING:
    from edge.gate.challenge import Challenges  # loaded where the rule is configured


class RobotSession(GateSession):
    """A session as both nonces name it; everything but hello must name it too."""

    def __init__(
        self,
        settings: Settings,
        nonce: Callable[[], str],
        recipes: Mapping[str, Recipe] | None = None,
        challenges: Challenges | None = None,
    ) -> None:
        """As HandshakeSession."""
        super().__init__(settings, nonce, challenges)
        self._parts = Parts(recipes, settings.recipe) if recipes is not None else None
        self._beats = 0
        # set when a session begins, and meaningless without one
        self._robot_nonce: str
        self._hello: Hello
        self._last: int
        """Highest sequence of this session."""
        self._robot_ns: int
        self._robot_counter: int | None
        self._beat_ns: int
        self._said: State
        """The last heartbeat's state."""
        self._early: Report | None

    @property
    def recipe(self) -> str | None:
        """The active recipe; empty: none is, although there are some. None: there are none."""
        return None if self._parts is None else self._parts.active

    @property
    def parts_full(self) -> bool:
        """So many parts wait for their verdict that no further one may be opened."""
        return self._parts is not None and self._parts.full

    def next_ns(self, now_ns: int) -> int:
        """When `tick` is due at the latest."""
        due = super().next_ns(now_ns)
        return due if self.session is None else min(due, self._beat_ns, self._robot_ns + self.settings.silence_ns)

    def received(self, message: Message, now_ns: int) -> None:
        """A whole message of the robot."""
        if isinstance(message, Hello):
            self._hello_from(message, now_ns)
            return
        if message.session != self.session:
            text = f"{type(message).__name__} for session {message.session}, open is {self.session}"
            self.note("session", Reason.SESSION_LOST, text, now_ns)
            self._nak(message.session, 0 if isinstance(message, Heartbeat) else message.sequence, Refusal.SESSION, now_ns)
            return
        if not isinstance(message, Heartbeat):
            self._robot_ns = now_ns
            self._asked(message, now_ns)
        elif message.counter != self._robot_counter:
            self._robot_ns, self._robot_counter = now_ns, message.counter

    @abstractmethod
    def _asked(self, message: Message, now_ns: int) -> None:
        """A message of the open session that is neither hello nor heartbeat."""

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        super().tick(now_ns)
        if self.session is not None and now_ns >= self._robot_ns + self.settings.silence_ns:
            self._end_session("the robot's heartbeat stopped", now_ns)
        if self.session is not None and (now_ns >= self._beat_ns or self._worse(now_ns)):
            self._heartbeat(now_ns)

    def _hello_from(self, hello: Hello, now_ns: int) -> None:
        refusal = self._objection(hello)
        if refusal is not None:
            self.note("session", Reason.SESSION_LOST, f"hello refused ({refusal.value}): {hello}", now_ns)
            self._nak(hello.nonce + "0" * 8, 0, refusal, now_ns)
            return
        if self.session is None or hello.nonce != self._robot_nonce:
            self._begin(hello, now_ns)
        self._reply(self._hello, now_ns)
        self._heartbeat(now_ns)

    def _objection(self, hello: Hello) -> Refusal | None:
        if not (hello.major >= messages.LOWEST_MAJOR and hello.lowest <= messages.MAJOR) or hello.must & ~messages.KNOWN_FEATURES:
            return Refusal.VERSION
        if hello.profile != "H":
            return Refusal.PROFILE
        if hello.deadline_ms and hello.deadline_ms * NS_PER_MS < self.settings.budget_ns:
            return Refusal.DEADLINE
        return Refusal.RECIPE if hello.must & FEATURE_PARTS and self._parts is None else None

    @property
    def _must(self) -> int:
        """What a robot has to know of this gate, or it must not go on."""
        return FEATURE_PARTS * (self._parts is not None) | FEATURE_TWICE * self.settings.degraded

    def _begin(self, hello: Hello, now_ns: int) -> None:
        if self.session is not None:
            self._end_session("the robot opened a new session", now_ns)
        own = self._nonce()
        self._robot_nonce, self._robot_ns, self._robot_counter = hello.nonce, now_ns, None
        self.session, self._last, self._early = hello.nonce + own, 0, None
        budget_ms = min(0xFFFF, self.settings.budget_ns // NS_PER_MS)
        self._hello = Hello(nonce=own, peer=hello.nonce, must=self._must, deadline_ms=budget_ms)
        self.note("session", None, f"session {self.session}, robot protocol {hello.major}.{hello.minor}", now_ns)

    def _end_session(self, why: str, now_ns: int) -> None:
        self.note("session", Reason.SESSION_LOST, why, now_ns)
        self._void(Disposition.SESSION_LOST, why, now_ns)
        self._actions.append(Discard())

    def _heartbeat(self, now_ns: int) -> None:
        assert self.session is not None
        self._beats = (self._beats + 1) & 0xFFFF
        bundle = self.inspector.bundle[:8] if self.inspector and self.inspector.bundle else "0" * 8
        self._said = self._own_state(now_ns)
        self._reply(Heartbeat(session=self.session, state=self._said, counter=self._beats, bundle=bundle), now_ns)
        self._beat_ns = now_ns + self.settings.heartbeat_ns

    def _worse(self, now_ns: int) -> bool:
        """The robot was told that it may trigger, and should not wait for the next heartbeat to learn that it may not."""
        return self._said in (State.READY, State.BUSY) and self._own_state(now_ns) in (State.WAIT, State.FAULT)

    def _own_state(self, now_ns: int) -> State:
        if not self.idle:
            return State.BUSY
        assert self.session is not None
        probe = Asked(session=self.session, sequence=self._last, part="-", weld="-", typology=None, by="trigger")
        refused = refuse_early(self._facts(Case(asked=probe, opened_ns=now_ns, cutoff_ns=now_ns, deadline_ns=now_ns), None, now_ns))
        if refused is None or refused.reason is Reason.CHALLENGE:
            # The parts that are asked for can only be shown to a gate that takes triggers.
            return State.READY
        return State.WAIT if refused.reason is Reason.NOT_READY else State.FAULT

    def hindrance(self, *, new_recipes: bool) -> str:
        """Why another configuration may not rule now; empty: it may."""
        if new_recipes and self._parts is not None and self._parts.open:
            return f"the recipes change, and parts are open: {', '.join(self._parts.open)}"
        return super().hindrance(new_recipes=new_recipes)

    def configured(self, settings: Settings, recipes: Mapping[str, Recipe] | None, now_ns: int) -> None:
        """These rule from now on; only while there is no `hindrance`."""
        super().configured(settings, recipes, now_ns)
        if self._parts is None or recipes is None:
            return
        before = self._parts.recipe
        self._parts.replace(recipes, settings.recipe)
        if self.session is None:
            self._parts.forget()
        if self._challenges is not None:
            self._challenges.recipes_are(recipes)
            if self._parts.recipe != before:
                self._challenges.recipe_edited(self._parts.active)
            self._tell_challenges(now_ns)

    def _distrust(self) -> None:
        if self._parts is not None:
            self._parts.distrust("was accepted before a challenge failed")

    def _nak(self, session: str, sequence: int, reason: Refusal, now_ns: int) -> None:
        self._reply(Nak(session=session, sequence=sequence, reason=reason), now_ns)

    def _void(self, done: Disposition, why: str, now_ns: int) -> None:
        super()._void(done, why, now_ns)
        if self._parts is not None:
            self._parts.forget()
            if self._challenges is not None:
                self._challenges.recipe_is(self._parts.active, changed_over=False)
