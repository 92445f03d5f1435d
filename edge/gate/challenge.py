"""Challenge parts: known-bad and then known-good welds must pass before anything else is accepted; pure but for the wall clock."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from edge.config.challenge import ChallengeConfig, ChallengePart
from edge.contract import Outcome
from edge.gate.case import Case, Kept, Shown
from edge.gate.recipe import Recipe
from edge.gate.rows import Disposition
from edge.gate.shifts import NS_PER_S, next_shift
from edge.gate.verdict import Asked, Duty, Role

MINUTE_NS = 60 * NS_PER_S
FOREVER_NS = 1 << 62
LAST_WALL_NS = 1 << 63
"""In the year 2262: no clock that shows more is believed."""
_PROVED_BY = {
    "bad": (Outcome.REJECT, (Disposition.REJECTED, Disposition.UNCONFIRMED)),
    "good": (Outcome.ACCEPT, (Disposition.ACCEPTED, Disposition.UNCONFIRMED)),
}
"""What must have been sent, and what the robot must have done (push: it only listens)."""


class Passed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A challenge that was passed, as it is kept across restarts."""

    boot: str
    at_ns: int
    """CLOCK_MONOTONIC of that boot when its first part was shown: everything counts from there."""
    wall_ns: int
    """The wall clock at that moment."""
    bundle: str
    recipe: str
    rule: str
    """`rule_of` the configuration and the recipe under which it was passed."""
    welds: int


class ChallengeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator wants to see."""

    accepting: bool
    """Parts of production may be accepted, as far as this rule goes."""
    why: str
    """Why not; empty when they may."""
    missing: tuple[str, ...]
    """What must be shown next, in this order: `part weld (known bad)`."""
    passed_wall_ns: int | None
    bundle: str
    """By which the last one was passed; empty: none counts."""
    due_in_s: float | None
    """Until the next one is due by time, negative during the grace; None: no such time, or due already for another reason."""


class Said(NamedTuple):
    """An event for records and log; `alarm`: nothing is accepted for it, `latch`: nor until a person has looked."""

    text: str
    alarm: bool = False
    latch: bool = False


class _Proof(NamedTuple):
    sequence: int
    opened_ns: int
    wall_ns: int


def rule_of(config: ChallengeConfig, recipe: Recipe | None = None) -> str:
    """16 hex digits that change with any key of the table, and with the recipe that is active."""
    return hashlib.sha256(msgspec.json.encode((config, recipe))).hexdigest()[:16]


class Challenges:
    """Whether the last challenge counts, and how far the present one has come. Times are CLOCK_MONOTONIC ns.

    Known-bad welds come first: until each of them was found defective and put aside, not even a known-good one is accepted.
    """

    def __init__(
        self, config: ChallengeConfig, *, boot: str, wall: Callable[[], int], recipe: str, recipes: Mapping[str, Recipe] | None = None
    ) -> None:
        """`boot` names this start of the box, `wall` gives the wall clock in ns, `recipe` of `recipes` is active (or empty: none is)."""
        self._config, self._boot, self._wall = config, boot, wall
        self._recipes = recipes or {}
        self._parts = {(part.name, part.weld, part.recipe): part for part in config.part}
        self._names = {part.name.lower() for part in config.part}
        self._recipe = recipe
        self._proofs: dict[ChallengePart, _Proof] = {}
        self._under_way: dict[tuple[str, str], int] = {}
        """Part and weld of known-good parts, and the trigger that was opened for each and is not closed."""
        self._epoch = 0
        """Grows whenever what was proved so far counts no more; a weld shown before proves nothing after."""
        self._bundle = ""
        self._level = 0
        """Of what time brings: 1 warned, 2 due."""
        self._span_ns = FOREVER_NS
        self._back_ns = 0
        """So far the wall clock was set back since the last challenge."""
        self._why = "no challenge was passed yet"
        self._passed: Passed | None = None
        self._out: list[Said | Kept] = []

    def take(self) -> list[Said | Kept]:
        """What to record and to keep since the last call."""
        out, self._out = self._out, []
        return out

    # an earlier process

    def restore(self, kept: Passed | str | None, now_ns: int) -> None:
        """What an earlier process left counts again, if it still does (a text: why it cannot be read). Until then nothing counts."""
        why = kept if isinstance(kept, str) else self._why if kept is None else self._unfit(kept, now_ns)
        if why or not isinstance(kept, Passed):
            self._void(why)
            return
        if kept.boot != self._boot:
            # By the wall clock, which `_unfit` has found later than that moment.
            kept = msgspec.structs.replace(kept, boot=self._boot, at_ns=now_ns - (self._wall() - kept.wall_ns))
        self._hold(kept)
        self._say(f"the challenge passed {_local(kept.wall_ns)} by bundle {kept.bundle[:12]} still counts")

    def _unfit(self, kept: Passed, now_ns: int) -> str:
        if kept.rule != self._rule_of(kept.recipe):
            return "[gate.challenge] was changed, or the recipe it was passed under"
        if not (kept.at_ns >= 0 and 0 <= kept.wall_ns < LAST_WALL_NS):
            return "the last challenge was passed at no time that a clock can show"
        if kept.boot == self._boot:
            return "" if kept.at_ns <= now_ns else "the last challenge lies in the future"
        if self._config.after_boot:
            return "the box was started anew"
        return "" if kept.wall_ns <= self._wall() else "the clock stands before the last challenge: it did not run while the box was off"

    def _rule_of(self, recipe: str) -> str:
        return rule_of(self._config, self._recipes.get(recipe))

    # what a trigger may hope for

    def role(self, asked: Asked) -> Role:
        """What the rule takes this part for. A reserved name in other letters, or another weld of it, is nothing that may pass."""
        part = self._part(asked)
        if part is not None:
            return part.expect
        return "other" if asked.part.lower() in self._names else ""

    def _part(self, asked: Asked) -> ChallengePart | None:
        if not asked.weld:
            return None
        key = (asked.part, asked.weld)
        return self._parts.get((*key, "")) or self._parts.get((*key, self._recipe))

    def duty(self, asked: Asked, now_ns: int) -> Duty:
        """What the rule says of a trigger that is decided now."""
        role = self.role(asked)
        if role == "bad":
            return Duty(role=role, lack="", bundle="")
        if role == "other":
            strange = f"weld {asked.weld} of {asked.part} is none of the challenge"
            return Duty(role=role, lack=strange if asked.weld else "a challenge part has no verdict as a whole", bundle="")
        if role == "good":
            return Duty(role=role, lack=self._good_lack(asked, now_ns), bundle=self._bundle)
        return Duty(role=role, lack=self._lack(now_ns), bundle=self._passed.bundle if self._passed is not None else "")

    def _good_lack(self, asked: Asked, now_ns: int) -> str:
        part, missing = self._part(asked), self._missing(now_ns)
        if part not in missing:
            return "it was accepted already, and once is enough"
        if self._under_way.get((asked.part, asked.weld), asked.sequence) != asked.sequence:
            return "the trigger before it is not closed, and once is enough"
        first = [other for other in missing if other.expect == "bad"]
        return f"the known-bad parts come first: {_names(first)}" if first else ""

    def _lack(self, now_ns: int) -> str:
        if self._passed is None:
            return self._need(self._why, now_ns)
        if self._other_recipe(self._passed):
            return self._need(f"the last challenge was passed under recipe {self._passed.recipe or 'none'}", now_ns)
        if self._elapsed_ns(now_ns) >= self._limit_ns:
            return self._need(self._overdue(), now_ns)
        return ""

    def _need(self, why: str, now_ns: int) -> str:
        return f"{why}; show {_names(self._missing(now_ns))}"

    # what was shown

    def show(self, asked: Asked) -> Shown | None:
        """A trigger opened: None for a part of production. Whatever was proved by a known-bad weld before, it begins anew."""
        role = self.role(asked)
        if not role:
            return None
        part = self._part(asked)
        if part is not None and part.expect == "bad":
            if self._passed is not None:
                self._void(f"{asked.part} {asked.weld} was shown: a challenge once begun must be passed")
            self._proofs = {other: proof for other, proof in self._proofs.items() if other != part and other.expect == "bad"}
        elif part is not None:
            self._under_way.setdefault((asked.part, asked.weld), asked.sequence)
        return Shown(role=role, epoch=self._epoch, wall_ns=self._wall())

    def judged(self, case: Case) -> None:
        """A challenge part was judged; one that is judged otherwise than is known of it has failed."""
        asked, shown, good = case.asked, case.shown, case.judged_good
        if shown is not None and good is not None and good is not (shown.role == "good"):
            what = f"known-{shown.role} {asked.part} {asked.weld} was judged {'good' if good else 'bad'}"
            self._fail(f"{what} in session {asked.session}, trigger {asked.sequence}")

    def _fail(self, why: str) -> None:
        self._void(f"the last challenge failed: {why}")
        self._out.append(Said(f"challenge failed: {why}", alarm=True, latch=True))

    def settle(self, case: Case, done: Disposition, now_ns: int) -> None:
        """A challenge part's trigger is closed: it proves something only when all went as it does in production."""
        asked, shown = case.asked, case.shown
        if self._under_way.get((asked.part, asked.weld)) == asked.sequence:
            del self._under_way[asked.part, asked.weld]
        part = self._part(asked)
        if part is None or shown is None:
            return
        outcome, dones = _PROVED_BY[part.expect]
        sent = case.sending if case.sent_ns is not None else None
        as_expected = case.judged_good is (part.expect == "good") and sent is not None and sent.outcome is outcome and done in dones
        if shown.epoch != self._epoch or not as_expected:
            self._say(f"{asked.part} {asked.weld}, trigger {asked.sequence}, proves nothing ({done.value}): show it again")
            return
        self._proofs[part] = _Proof(sequence=asked.sequence, opened_ns=case.opened_ns, wall_ns=shown.wall_ns)
        missing = self._missing(now_ns)
        if missing:
            self._say(f"{asked.part} {asked.weld} is as it should be; show {_names(missing)}")
        else:
            self._pass(asked.session)

    def _pass(self, session: str) -> None:
        first = min(self._proofs.values(), key=lambda proof: proof.opened_ns)
        welds = ", ".join(f"{part.name} {part.weld} #{proof.sequence}" for part, proof in self._proofs.items())
        passed = Passed(
            boot=self._boot,
            at_ns=first.opened_ns,
            wall_ns=first.wall_ns,
            bundle=self._bundle,
            recipe=self._recipe,
            rule=self._rule_of(self._recipe),
            welds=len(self._proofs),
        )
        self._proofs, self._epoch = {}, self._epoch + 1
        self._hold(passed)
        until = f"due again {_local(passed.wall_ns + self._span_ns)}" if self._span_ns < FOREVER_NS else "not due again by time"
        recipe = f", recipe {self._recipe}" if self._recipe else ""
        self._say(f"challenge passed by bundle {self._bundle}{recipe}, {until}; session {session}: {welds}")
        self._out.append(Kept(msgspec.json.encode(passed)))

    def _missing(self, now_ns: int) -> list[ChallengePart]:
        """What is still to be shown, the known-bad welds first; what was shown too long ago counts no more."""
        oldest_ns = now_ns - int(self._config.within_min * MINUTE_NS)
        proofs = self._proofs
        return [part for part in self._wanted(self._recipe) if part not in proofs or proofs[part].opened_ns < oldest_ns]

    def _wanted(self, recipe: str) -> list[ChallengePart]:
        """Every weld of a challenge under this recipe, the known-bad ones first."""
        return sorted((part for part in self._parts.values() if part.recipe in ("", recipe)), key=lambda part: part.expect)

    # what ends it

    def announced(self, bundle: str) -> None:
        """An inspector that is ready names its bundle."""
        if bundle == self._bundle:
            return
        self._bundle, self._proofs, self._epoch = bundle, {}, self._epoch + 1
        if self._passed is not None and self._passed.bundle != bundle:
            self._void(f"bundle {bundle[:12]} judges now, {self._passed.bundle[:12]} did when the last challenge was passed")

    def recipe_is(self, recipe: str, *, changed_over: bool) -> None:
        """Another recipe may be active from now on; `changed_over`: because the robot named it."""
        if recipe != self._recipe:
            self._recipe, self._proofs, self._epoch = recipe, {}, self._epoch + 1
        if changed_over and self._passed is not None and self._other_recipe(self._passed):
            self._void(f"change-over to {recipe}")

    def recipes_are(self, recipes: Mapping[str, Recipe]) -> None:
        """The file of recipes was read again, and these rule from now on."""
        self._recipes = recipes
        if self._passed is not None and self._passed.rule != self._rule_of(self._passed.recipe):
            self._void("the recipes were edited")

    def recipe_edited(self, recipe: str) -> None:
        """The file of recipes says something else of the active one (or has it no more, and this one is active)."""
        self._recipe, self._proofs, self._epoch = recipe, {}, self._epoch + 1
        if self._passed is not None:
            self._void("the recipes were edited")

    def _other_recipe(self, passed: Passed) -> bool:
        """Whether it was passed under a recipe that says nothing about the active one."""
        if passed.recipe == self._recipe:
            return False
        return self._config.after_change_over or self._wanted(passed.recipe) != self._wanted(self._recipe)

    def session_ended(self) -> None:
        """The robot is gone: what it has shown so far has to be shown again."""
        self._proofs, self._epoch = {}, self._epoch + 1

    def tick(self, now_ns: int) -> None:
        """Say what time has brought; a challenge that is overdue counts no more, whatever the clock says later."""
        if self._passed is None:
            return
        elapsed_ns = self._elapsed_ns(now_ns)
        if elapsed_ns >= self._limit_ns:
            self._void(self._overdue())
        elif elapsed_ns >= self._span_ns and self._level < 2:
            self._level = 2
            self._say(f"challenge due within {self._config.grace_min:g} min: show {_names(self._missing(now_ns))}", alarm=True)
        elif elapsed_ns >= self._span_ns - int(self._config.warn_min * MINUTE_NS) and self._level < 1:
            self._level = 1
            left_min = (self._span_ns - elapsed_ns) / MINUTE_NS
            self._say(f"challenge due in {left_min:.1f} min: {_names(self._missing(now_ns))}")

    def status(self, now_ns: int) -> ChallengeStatus:
        """For people; no verdict rests on it."""
        passed = self._passed
        why = self._lack(now_ns)
        known = passed is not None and not why and self._span_ns < FOREVER_NS
        return ChallengeStatus(
            accepting=not why,
            why=why,
            missing=tuple(_names([part]) for part in self._missing(now_ns)) if why or self._proofs else (),
            passed_wall_ns=passed.wall_ns if passed is not None else None,
            bundle=passed.bundle if passed is not None else "",
            due_in_s=(self._span_ns - self._elapsed_ns(now_ns)) / NS_PER_S if known else None,
        )

    # time

    @property
    def _limit_ns(self) -> int:
        return self._span_ns + int(self._config.grace_min * MINUTE_NS)

    def _elapsed_ns(self, now_ns: int) -> int:
        """Since the last challenge, by the clock that says more: setting one back must not win time."""
        assert self._passed is not None
        by_machine_ns, by_wall_ns = now_ns - self._passed.at_ns, self._wall() - self._passed.wall_ns
        if by_machine_ns - by_wall_ns > self._back_ns + NS_PER_S:
            # Set back: by this clock it was passed earlier, and a shift may have begun after it that seemed to lie before it.
            self._back_ns = by_machine_ns - by_wall_ns
            self._span_ns = min(self._span_ns, self._until_shift_ns(self._passed.wall_ns - self._back_ns))
        return max(by_machine_ns, by_wall_ns)

    def _until_shift_ns(self, wall_ns: int) -> int:
        shift_ns = next_shift(wall_ns, self._config.shifts)
        return FOREVER_NS if shift_ns is None else shift_ns - wall_ns

    def _hold(self, passed: Passed) -> None:
        """From now on this challenge counts, until its time is over."""
        age_ns = max(1, int(self._config.every_h * 3_600 * NS_PER_S)) if self._config.every_h else FOREVER_NS
        self._span_ns, self._back_ns = min(age_ns, self._until_shift_ns(passed.wall_ns)), 0
        self._passed, self._why, self._level = passed, "", 0

    def _void(self, why: str) -> None:
        self._passed, self._why, self._proofs, self._epoch = None, why, {}, self._epoch + 1
        self._out.append(Kept(None))
        self._say(f"challenge due: {why}; nothing is accepted before {_names(self._missing(0))}", alarm=True)

    def _overdue(self) -> str:
        assert self._passed is not None
        return f"overdue since {_local(self._passed.wall_ns + self._limit_ns)}, the last one was passed {_local(self._passed.wall_ns)}"

    def _say(self, text: str, *, alarm: bool = False) -> None:
        self._out.append(Said(text, alarm))


def _names(parts: list[ChallengePart]) -> str:
    return ", ".join(f"{part.name} {part.weld} (known {part.expect})" for part in parts)


def _local(wall_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(wall_ns // NS_PER_S))
