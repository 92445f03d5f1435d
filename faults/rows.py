"""The fault catalogue: 93 rows in seven sections, each with the reaction that is demanded of Cordon."""

from __future__ import annotations

from dataclasses import dataclass

SECTIONS = {
    "A": "Camera, network and frames",
    "B": "Inference and verdict",
    "C": "Serial line and robot",
    "D": "Records",
    "E": "Processes, operating system and time",
    "F": "Bundles",
    "G": "Security and operations",
}
_TABLE = """
A01 | flood of frames | memory stays bounded, drops are counted, a trigger without its frame is REJECT
A02 | frame sent twice | the second copy is ignored and counted
A03 | frames out of order, frame of the part before | REJECT unless the frame carries the open trigger; never "the newest frame"
A04 | frame after the deadline | REJECT in time; the late frame is recorded as late and not used
A05 | frame missing, publisher starts late | REJECT NO_FRAME; READY only after the camera was heard
A06 | frame cut short, parts missing | REJECT: lengths, shape, kind and checksum are compared first
A07 | frame too large or of too many parts | refused before memory is taken; other frames still pass
A08 | NaN, infinite, empty or constant heights, NaN in the header | REJECT; a score that is not a finite number never accepts
A09 | wrong typology, part, unit, mirrored | REJECT: what trigger, frame and bundle say must agree
A10 | camera frozen: old image under a new number | REJECT and a recorded alarm
A11 | camera clock wrong by days or running backwards | no influence: own monotonic clock and the trigger's identity decide
A12 | two publishers under one camera name | refused by key, or REJECT and an alarm
A13 | inspector falls behind | waiting work that is too old is REJECT; the queue does not grow
A14 | half-open connection, cable pulled | camera counted as lost within its heartbeat; not READY
A15 | hostile peer: bytes before the handshake, topic floods, pickles | no effect on good cameras; nothing is unpickled
B01 | engine raises | REJECT with the reason; repeated failure latches "not READY"
B02 | engine hangs | the gate answers REJECT inside the budget; the inspector is ended and started anew
B03 | GPU lost, sticky CUDA error | the inspector's process ends and restarts; REJECT until it is whole again
B04 | GPU slow | REJECT when the budget is gone; slowness is counted
B05 | wrong output without an error | known answers are re-checked; a difference latches "not READY"
B06 | outputs or classes in another order | the bundle pins names, order and shapes; refuses to load
B07 | GPU and CPU disagree | compared on the golden set at load; refuses beyond the tolerance
B08 | one member of a committee does not answer | REJECT: every member must have answered
B09 | threshold NaN, negative, above 1, or text | refuses to load; there is no default
B10 | verdict and deadline race | the first decision of a trigger is final
B11 | exception while handling an error | REJECT; the verdict is a pure function and never raises
C01 | port unplugged and plugged in, device renamed | session void, port reopened by its stable name, flushed, new hello
C02 | bytes of an older session after reopening | flushed, or refused by the session's nonces
C03 | noise, framing and parity errors | CRC refuses, line resynchronises, errors are counted; too many latch "no accept"
C04 | echo of the gate's own bytes | the direction letter refuses them; an echo is never an acknowledgement
C05 | partial write | written on until the deadline; the rest of an ACCEPT is dropped, never finished late
C06 | peer reads nothing | no backlog: one verdict waits at most, no old ACCEPT comes out later
C07 | no acknowledgement | same bytes again inside the deadline only, then disposition TIMEOUT
C08 | acknowledgement wrong, doubled or late | recorded as mismatch and latched; never "assumed accepted"
C09 | robot restarts inside a cycle | new session; the open trigger closes NO_DISPOSITION
C10 | gate restarts inside a cycle | new session; open triggers close NO_VERDICT; silence means reject
C11 | robot repeats a sequence number or part | the repeat gets the stored verdict; in a new session it needs a new frame
C12 | triggers while busy | each refused trigger is answered NAK BUSY and counted
C13 | second gate on the same port | refused by lock; the second one exits with an error
C14 | wrong baud rate or parity | no valid hello, not READY
C15 | garbage, very long line | bounded length, resynchronises at the next frame
C16 | 16 ms latency timer of the adapter | detected and reported; budget still kept
C17 | XON and XOFF bytes in the stream | software flow control is off; the stream goes on
C18 | other version or must-understand bit | not READY; only REJECT is possible
C19 | bits of the verdict flipped | CRC, complement and distant words refuse every 1-, 2- and 3-bit flip
D01 | disk full | what is kept goes to the reserve, then no record means no ACCEPT; alarm before
D02 | file system read-only | no ACCEPT; rows wait in memory and are written when it is writable again
D03 | input/output error, failed sync | latches "no accept" until reopened and the last rows were checked
D04 | power cut at any write, torn or out of order | every acknowledged record survives; the tail is dropped cleanly
D05 | SIGKILL at any system call | as a power cut: nothing acknowledged is lost
D06 | slow sync | REJECT at the deadline; no ACCEPT without its record
D07 | damaged database at start | put aside, new file, alarm; no ACCEPT until a person acknowledged
D08 | bit rot or edited row | the hash chain names the first row that differs
D09 | upload repeated or its receipt lost | each row is kept once; deleted only after a receipt
D10 | receiver of uploads away for days | bounded by retention; nothing unsent is deleted; alarm
D11 | wall clock jumps | order by number; boot, monotonic and wall time are kept side by side
D12 | log of the database grows, checkpoint blocked | one connection; size is bounded; readers use copies
D13 | image archive full | the verdict's record comes first; a lost image is itself recorded
E01 | SIGKILL or crash of any process | the gate goes on answering REJECT; the others are started anew
E02 | the gate itself dies | silence: the robot rejects within its heartbeat limit
E03 | deadlock while a watchdog thread lives | the watchdog is fed only by progress of the verdict's path
E04 | out of memory | the failing process ends; the gate is small and stays
E05 | file descriptors or threads run out | fails closed; what the verdict needs is open from the start
E06 | no processor time | REJECT at the deadline, never a late ACCEPT
E07 | garbage collection or page fault pauses | collection is off in the verdict's path; pauses are bounded
E08 | wall clock wrong by years, leap second | no influence: deadlines use the monotonic clock
E09 | machine suspended | noticed by comparing clocks; new session
E10 | restart storm | the service manager gives up and the robot rejects
E11 | SIGTERM inside a cycle | record finished, open trigger REJECT, exit inside the stop limit
E12 | start-up fails in part | not READY until camera, networks, records and line have proved themselves
E13 | fork after CUDA or ZeroMQ began | processes are spawned only; a static check holds it
F01 | unsigned, wrong key, bad or extra signature | refused; the running bundle goes on; recorded
F02 | one byte changed anywhere | refused
F03 | older signed bundle | refused below the durable version floor unless a signed rollback allows it
F04 | expired metadata, clock frozen | no new installation; a running good bundle is not stopped by a clock
F05 | members of two bundles mixed | refused: one manifest holds every file's hash
F06 | bundle of another line, typology, GPU or runtime | refused by name
F07 | file swapped between check and use | the checked bytes are the loaded bytes
F08 | path traversal, links, zip bomb, huge manifest | refused before parsing: fixed names, bounded sizes
F09 | pickle inside a bundle | refused and never executed
F10 | engine file that carries code | refused before its signature is good; no foreign plugins
F11 | power cut while installing | the old bundle or the new one, never neither
F12 | hot swap under load | switched between triggers; one bundle per verdict
F13 | well signed but bad bundle | golden welds must agree, bad ones must be rejected; else the old one stays
F14 | key lost or compromised | other trusted keys go on; a revoked key is refused
G01 | control characters in names, forged log lines | escaped and bounded: one record is one line
G02 | flood of log lines, log blocked | the log is dropped and counted; no verdict waits for it
G03 | formulas and SQL in exported fields | bound parameters; leading signs are escaped
G04 | configuration edited while running | read whole at start and when asked to, between triggers; every record has the hash of what ruled
G05 | misuse of control sockets | other users are refused; no "force accept" exists
G06 | simulation or test mode left on | cannot be READY; visible on the line
G07 | operator bypasses the inspection | only the robot's side can; it is recorded
G08 | secrets in logs | none is written
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault of the catalogue."""

    id: str
    fault: str
    reaction: str

    @property
    def section(self) -> str:
        """The letter of its section, a key of SECTIONS."""
        return self.id[0]


def _rows() -> dict[str, Row]:
    cells = [[cell.strip() for cell in line.split(" | ")] for line in _TABLE.strip().splitlines()]
    return {name: Row(id=name, fault=fault, reaction=reaction) for name, fault, reaction in cells}


ROWS: dict[str, Row] = _rows()
