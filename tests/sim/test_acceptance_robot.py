"""The kit that plays the gate: the documents' robot program passes it, and every faulty one is found by the rule that it breaks."""

from functools import cache

import pytest
from virtual_robot import rehearse

COMPARES = "body == expected and clock_ms() - sent_ms <= DEADLINE_MS"
HEAD = "    elif body[0:len(head)] != head:\n        give_up()                            # not the answer to this question\n"
FOREIGN = 'state == "NO SESSION" or field(body, 1) != session'
TAIL_ONLY = ((COMPARES, "body.endswith(GOOD)"), (HEAD, ""))

SAYS_REJECTED = '        confirm(body, "REJECTED")\n        finish("REJECT")'
FRESH = '    session = ""\n    nonce = fresh_nonce()'
SAYS_AGAIN = "        say(last_said)                       # our"
KEPT = """    say(question)
    kept = globals().get("kept", "")
    if field(kept, 2) == str(sequence) and field(kept, 5) == "ACCEPT":
        confirm(kept, "ACCEPTED")
    return True"""

NUMBER = COMPARES.replace("body == expected", 'body.split(",")[3:] == expected.split(",")[3:] and int("0" + field(body, 2)) {} == sequence')
SEALED = 'line == "$" + line[1:length] + seal(line[1:length])'
TAKEN = 'body == "GK," + key:\n        acknowledged = True'
GIVEN_UP = "- sent_ms > DEADLINE_MS:\n        give_up()"
MOVING = "    now = clock_ms()\n"
REPEATED = "        say(question)\n    if state"
DONE = '        finish("ACCEPT")\n    else'

FAULTY = {
    "reads the sequence as a number": (["a sequence with a zero before it"], [(COMPARES, NUMBER.format("")), (HEAD, "")]),
    "keeps the sequence in a byte": (["a sequence 256 further", "a sequence 65536 further"],
                                     [(COMPARES, NUMBER.format("% 256")), (HEAD, "")]),
    "keeps the sequence in two bytes": (["a sequence 65536 further"], [(COMPARES, NUMBER.format("% 65536")), (HEAD, "")]),
    "looks at the end of the check": (["the first digit of the check wrong"],
                                      [(SEALED, "line[-4:] == seal(line[1:length])[-4:]")]),
    "leaves spaces out": (["a space behind the word"], [(COMPARES, COMPARES.replace("body", 'body.replace(" ", "")', 1))]),
    "waits anew once it is heard": (["a late ACCEPT to a repetition"], [(TAKEN, TAKEN + "\n        globals().update(sent_ms=clock_ms())")]),
    "waits anew at each repetition": (["a late ACCEPT to a repetition"],
                                      [(REPEATED, REPEATED.replace("    if", "        globals().update(sent_ms=now)\n    if"))]),
    "goes on without the box": (["no verdict, again and again"],
                                [(GIVEN_UP, GIVEN_UP.replace("give_up()", 'globals().update(tries=globals().get("tries", 0) + 1)\n'
                                                             '        finish("ACCEPT" if tries % 3 == 0 else "REJECT")'))]),
    "confirms once": (["a repeated ACCEPT"], [("        say(last_said)                       # our", "        pass  #")]),
    "says nothing while it moves": (["heartbeats all the while"],
                                    [(MOVING, MOVING + "    if now - globals().get('moved_ms', -999) < 300:\n        return\n"),
                                     (DONE, DONE.replace("    else", "        globals().update(moved_ms=clock_ms())\n    else"))]),
    "takes any check": (["one digit of the check wrong", "the check of another protocol"],
                        [(' and line == "$" + line[1:length] + seal(line[1:length])', "")]),
    "reads the word only": (["ACCEPT with the code of REJECT", "one bit of the code turned", "ACCEPT because of DEFECT"],
                            [(COMPARES, 'field(body, 5) == "ACCEPT"')]),
    "looks for the word anywhere": (["REJECT with the code of ACCEPT", "an unknown word"],
                                    [(COMPARES, '",F85A," in body')]),
    "leaves the reason out": (["ACCEPT because of DEFECT", "ACCEPT because of LATCHED", "ACCEPT without a reason"],
                              [(COMPARES, "body[0:len(expected) - 2] == expected[0:len(expected) - 2]")]),
    "compares the beginning": (["a field too many"], [(COMPARES, "body[0:len(expected)] == expected")]),
    "leaves the names out": (["another part", "another weld", "a weld that begins the same", "the next sequence"], TAIL_ONLY),
    "leaves the sequence out": (["the next sequence", "the sequence before"],
                                [(COMPARES, 'body.split(",")[3:] == expected.split(",")[3:]'), (HEAD, "")]),
    "leaves the session out": (["another session, gate's half", "another session, robot's half"],
                               [(FOREIGN, 'state == "NO SESSION" or body[0:3] != "GV," and field(body, 1) != session'),
                                (COMPARES, 'body.split(",")[2:] == expected.split(",")[2:]'), (HEAD, "")]),
    "takes every kind of frame": (["another type of frame"],
                                  [('kind == "GV," or', 'kind == "GV," or kind == "GX," or'),
                                   (COMPARES, "body[3:] == expected[3:]"), (HEAD, "")]),
    "takes its own echo": (["its own letter"],
                           [('kind == "GV," or', 'kind == "GV," or kind == "RV," or'),
                            (COMPARES, "body[3:] == expected[3:]"), (HEAD, "")]),
    "has no deadline": (["no verdict", "a late ACCEPT"],
                        [("now - sent_ms > DEADLINE_MS", "False"), (COMPARES, "body == expected")]),
    "gives up before its deadline": (["a verdict at the end of the budget"], [("now - sent_ms > DEADLINE_MS", "now - sent_ms > 150")]),
    "says a deadline below the budget": (["its hello"], [("DEADLINE_MS = 311", "DEADLINE_MS = 150")]),
    "accepts late": (["a late ACCEPT"],
                     [('        confirm(body, "REJECTED")            # after our own deadline', '        confirm(body, "ACCEPTED")')]),
    "lets pass what it says to reject": (["rejects REJECT", "rejects VOID"],
                                         [(SAYS_REJECTED, SAYS_REJECTED.replace('finish("REJECT")', 'finish("ACCEPT")'))]),
    "confirms nothing": (["accepts ACCEPT"], [("        say(last_said)\n\n", "        pass\n\n")]),
    "confirms REJECT as accepted": (["rejects REJECT", "confirmations"],
                                    [(SAYS_REJECTED, SAYS_REJECTED.replace("REJECTED", "ACCEPTED"))]),
    "counts a repetition": (["a repeated ACCEPT"],
                            [(SAYS_AGAIN, "        globals().update(sequence=sequence + 1)  #")]),
    "begins anew on a repetition": (["a repeated ACCEPT"],
                                    [(SAYS_AGAIN, "        lose_session()  #")]),
    "takes the last verdict": (["ACCEPT after REJECT"],
                               [("        late(body)\n", '        confirm(body, "ACCEPTED") if body == expected else late(body)\n')]),
    "keeps an answer for later": (["ACCEPT before the question"],
                                  [("        give_up()                            # not", "        globals().update(kept=body)  # not"),
                                   ("    say(question)\n    return True", KEPT)]),
    "does not hear a refusal": (["refused: BUSY", "refused: SEQUENCE", "refused: DEADLINE"],
                                [('    elif state == "WAITING" and field(body, 2) == str(sequence):\n        give_up()\n', "")]),
    "does not hear that its session is gone": (["refused: SESSION"],
                                               [('if field(body, 3) == "SESSION":\n        lose_session()', "if False:\n        pass")]),
    "does not miss the gate": (["the gate falls silent", "the gate's counter stands still"], [("SILENCE_MS = 240", "SILENCE_MS = 240000")]),
    "misses the gate late": (["the gate falls silent"], [("SILENCE_MS = 240", "SILENCE_MS = 440")]),
    "takes a stuck counter for life": (["the gate's counter stands still"], [("if field(body, 3) != gate_counter:", "if True:")]),
    "takes any heartbeat for life": (["another session's heartbeats"],
                                     [(FOREIGN, 'state == "NO SESSION" or body[0:3] != "GB," and field(body, 1) != session')]),
    "stays with another gate": (["another gate says hello"],
                                [('if state != "NO SESSION":\n        lose_session()\n', 'if state != "NO SESSION":\n')]),
    "uses a nonce again": (["nonces"],
                           [(FRESH, FRESH.replace("fresh_nonce()", '"0000000f" if nonce[7] != "f" else "0000000e"'))]),
    "stands still": (["heartbeats"], [("counter = (counter + 1) % 65536", "pass")]),
    "beats slowly": (["heartbeats"], [("now - beat_ms >= HEARTBEAT_MS", "now - beat_ms >= 200")]),
    "takes any gate": (["hello that asks for the unknown"], [(" or field(body, 6) not in KNOWN_FEATURES", "")]),
    "takes any version": (["hello of another version"], [('field(body, 3) != "1" or ', "")]),
    "takes any profile": (["hello of another profile"], [(' or field(body, 7) != "H"', "")]),
    "takes any hello": (["hello to another nonce"],
                        [("field(body, 2) != nonce or ", "")]),
    "skips sequences": (["questions"], [("sequence = sequence + 1", "sequence = sequence + 2")]),
    "goes on counting": (["first sequence"], [("    sequence = 0\n    gate_counter", "    gate_counter")]),
    "repeats with another name": (["questions"], [("        say(question)\n    if state", '        say(question + "x")\n    if state')]),
    "knows CR only": (["frames may end in LF"], [('character == "\\r" or character == "\\n"', 'character == "\\r"')]),
    "does not begin anew at $": (["a frame cut short before it"], [('elif character == "$":', 'elif character == "$" and line == "":')]),
    "takes no session": (["session"], [("    session = nonce + field(body, 1)\n", "    return\n")]),
    "has another CRC": (["its hello"], [("START = 0xCBA52D40", "START = 0xFFFFFFFF")]),
}  # fmt: skip


@cache
def broken_by(name: str) -> frozenset[str]:
    """The rules that this faulty program breaks."""
    report = rehearse(*FAULTY[name][1])
    assert not report.accepted
    return frozenset(finding.check for finding in report.failures)


def test_the_program_of_the_documents_passes_every_rule() -> None:
    report = rehearse()
    assert report.accepted, report.failures
    assert len(report.findings) > 65
    assert [finding.check for finding in report.findings if finding.result == "open"] == ["a break before a frame"]


def test_it_passes_in_the_degraded_framing_too() -> None:
    twice = [
        ('    return "*" + "%08X" % crc(body)          # degraded framing: return "=" + body', '    return "=" + body'),
        ("length = len(line) - 9           # degraded framing: length = len(line) // 2", "length = len(line) // 2"),
        ("if len(line) >= MAX_LENGTH:", "if len(line) >= 229:"),
        ('KNOWN_FEATURES = ["0000", "0001"]', 'KNOWN_FEATURES = ["0002", "0003"]'),
    ]
    report = rehearse(*twice, framing="twice")
    assert report.accepted, report.failures


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_program_breaks_the_rule_it_was_made_to_break(name: str) -> None:
    expected, _ = FAULTY[name]
    assert set(expected) <= broken_by(name), broken_by(name)


def test_every_rule_is_broken_by_one_of_these_programs() -> None:
    every = {finding.check for finding in rehearse().findings if finding.result == "pass"}
    assert every - {check for name in FAULTY for check in broken_by(name)} == {"hello of a longer budget"}  # has a test of its own


def test_a_robot_that_says_nothing_ends_the_acceptance_at_once_and_names_the_wiring() -> None:
    report = rehearse(("def say(body):", "def say(body):\n    return\n\n\ndef unsaid(body):"))
    assert [finding.check for finding in report.failures] == ["its hello"]
    assert len(report.findings) == 1
    assert "check wiring" in report.findings[0].seen


def test_a_deadline_that_leaves_no_room_for_a_slow_wire_is_found() -> None:
    at_9600 = rehearse(byte_ms=10 / 9.6, only="its deadline")
    assert [finding.result for finding in at_9600.findings] == ["FAIL"]
    assert [finding.result for finding in rehearse(only="its deadline").findings] == ["pass"]


def test_a_robot_that_does_not_say_its_deadline_has_to_look_at_the_gates_budget() -> None:
    silent = ('",00000000,1,1,1,0000,H," + str(DEADLINE_MS)', '",00000000,1,1,1,0000,H,0"')
    looks = ('field(body, 3) != "1" or ', 'field(body, 3) != "1" or int(field(body, 8)) > DEADLINE_MS or ')
    assert [finding.result for finding in rehearse(silent, only="longer budget").findings] == ["FAIL"]
    assert [finding.result for finding in rehearse(silent, looks, only="longer budget").findings] == ["pass"]
    assert [finding.result for finding in rehearse(only="longer budget").findings] == ["pass"]
