"""The box listens and cameras connect: who has no business here does not get in, whatever he tries, and the camera always does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import zmq
from cell_kit import make_parts
from curve_kit import CURVE_GREETING, HANDSHAKE_MS, Floor, Heard, ended, new_pair, numbers, says
from curve_kit import floor as floor_of

from edge.contract import Reason
from edge.errors import ConfigError
from edge.inspector.door import opened

floor = pytest.fixture(floor_of)


def came_in(heard: Heard, camera: zmq.Socket[bytes], counter: int = 1) -> None:
    """Publish until it is heard."""

    def try_again() -> bool:
        says(camera, counter)
        heard.step()
        return counter in heard.counters

    heard.until(try_again)


def test_a_camera_with_its_key_is_heard(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    came_in(heard, floor.client(heard, pair))
    assert heard.arrivals[0].reason is Reason.OK
    assert heard.feed.refused == 0
    assert heard.events == []


def test_a_stranger_with_a_key_of_his_own_is_refused_counted_and_told_once(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    strangers = [new_pair() for _ in range(5)]
    for stranger in strangers:
        floor.client(heard, stranger)
    heard.until(lambda: heard.feed.refused >= 5)
    heard.after(0.05)
    assert not heard.heard
    assert [event.reason for event in heard.events] == [Reason.CAMERA_REFUSED]
    assert any(f"the unknown key {stranger.public.decode()}" in heard.events[0].detail for stranger in strangers)
    came_in(heard, floor.client(heard, pair))


def test_another_cameras_key_opens_only_that_cameras_door(floor: Floor) -> None:
    own, other = new_pair(), new_pair()
    box = new_pair()
    heard, elsewhere = floor.listener(own, box=box), floor.listener(other, box=box, name="cam2")
    intruder = floor.client(heard, other)
    heard.until(lambda: heard.feed.refused > 0)
    says(intruder)
    heard.after(0.05)
    assert not heard.heard
    assert not elsewhere.heard


def test_a_camera_cannot_speak_for_another(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    camera = floor.client(heard, pair)
    came_in(heard, camera)
    camera.send_multipart([b"cam2", *make_parts(camera="cam2", counter=2)[1:]])
    camera.send_multipart([b"cam", *make_parts(camera="cam2", counter=3)[1:]])
    heard.until(lambda: len(heard.arrivals) > 1)
    assert [arrival.header is None for arrival in heard.arrivals] == [False, True]
    assert heard.arrivals[1].reason is Reason.FRAME_HEADER


def test_every_message_has_to_carry_the_cameras_own_name(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    camera = floor.client(heard, pair)
    heard.feed._link._name = "cam2"  # as if the porter had named somebody else's connection
    heard.until(lambda: (says(camera), heard.feed.refused > 0)[1])
    assert not heard.heard
    assert "another name than its key's" in heard.events[0].detail


@pytest.mark.parametrize("mechanism", ["null", "plain"])
def test_a_camera_without_curve_is_refused(floor: Floor, mechanism: str) -> None:
    heard = floor.listener(new_pair())
    options = {"plain_username": b"cam", "plain_password": b"cam"} if mechanism == "plain" else {}
    camera = floor.camera(**options)
    camera.connect(heard.endpoint)
    heard.until(lambda: (says(camera), heard.feed.refused > 0)[1])
    assert not heard.heard
    assert "speaks no CURVE" in heard.events[0].detail


def test_a_camera_that_expects_another_box_says_nothing_to_this_one(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    camera = floor.client(heard, pair, server=new_pair().public)
    heard.until(lambda: (says(camera), heard.feed.refused > 0)[1])
    assert not heard.heard


def test_two_keys_are_taken_while_a_key_is_changed_and_the_old_one_no_more_afterwards(floor: Floor) -> None:
    old, new = new_pair(), new_pair()
    for pair in (old, new):
        heard = floor.listener(old, new)
        came_in(heard, floor.client(heard, pair))
    heard = floor.listener(new)
    late = floor.client(heard, old)
    heard.until(lambda: heard.feed.refused > 0)
    says(late)
    heard.after(0.05)
    assert not heard.heard


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: box\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        os.urandom(4096),
        b"\x01\x00",  # ZMTP 1.0: an anonymous peer
        b"\x01\x00\x04\x00cam!",
        b"\xff" + bytes(8) + b"\x7f\x01\x02\x00\x00",  # ZMTP 2.0: no mechanism at all
        CURVE_GREETING.replace(b"CURVE", b"NULL\0"),
        CURVE_GREETING + b"\x04\x05\x04JUNK",
        CURVE_GREETING + b"\x00\x03cam\x00\x01x\x00\x01y",  # messages before any handshake
        CURVE_GREETING + b"\x04\xc8\x05HELLO\x01\x00" + bytes(72) + os.urandom(120),
        CURVE_GREETING + b"\x06" + (1 << 40).to_bytes(8, "big"),
    ],
    ids=["http", "tls", "noise", "zmtp1", "zmtp1-message", "zmtp2", "null", "junk", "message", "hello", "terabyte"],
)
def test_whoever_speaks_something_else_is_cut_off(floor: Floor, greeting: bytes) -> None:
    heard = floor.listener(new_pair())
    stranger = floor.knock(heard)
    stranger.send(greeting)
    heard.until(lambda: ended(stranger), seconds=5)
    assert not heard.heard
    assert heard.arrivals == []


@pytest.mark.parametrize("said", [b"", CURVE_GREETING[:1], CURVE_GREETING, CURVE_GREETING + b"\x06" + (60_000).to_bytes(8, "big") + b"x"])
def test_whoever_stalls_in_the_handshake_is_cut_off_in_time(floor: Floor, said: bytes) -> None:
    heard = floor.listener(new_pair())
    stranger = floor.knock(heard)
    stranger.send(said)
    began_s = time.monotonic()
    heard.until(lambda: ended(stranger), seconds=5)
    assert time.monotonic() - began_s >= HANDSHAKE_MS / 1000 * 0.5


def test_a_drop_of_bytes_now_and_then_does_not_prolong_the_handshake(floor: Floor) -> None:
    heard = floor.listener(new_pair())
    stranger = floor.knock(heard)
    for byte in CURVE_GREETING:
        heard.after(0.05)
        if ended(stranger):
            return
        stranger.send(bytes([byte]))
    pytest.fail("the whole greeting was waited for")


def test_an_address_that_is_not_allowed_finds_no_open_port_whatever_key_it_has(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair, allow=("127.0.0.2", "127.9.0.0/16"))
    for source in ("127.0.0.1", "127.0.0.3", "127.8.255.255"):
        with pytest.raises(TimeoutError):
            floor.knock(heard, source)
    floor.knock(heard, "127.9.44.5")
    came_in(heard, floor.client(heard, pair, source="127.0.0.2"))


def test_without_the_kernels_filter_zeromq_refuses_the_address(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.inspector.door.SO_ATTACH_FILTER", 0xFFFF)  # a number that no kernel knows
    pair = new_pair()
    heard = floor.listener(pair, allow=("127.0.0.2",))
    elsewhere = floor.client(heard, pair, source="127.0.0.3")
    end = time.monotonic() + 0.6
    heard.until(lambda: (says(elsewhere), time.monotonic() > end)[1])
    assert not heard.heard
    came_in(heard, floor.client(heard, pair, source="127.0.0.2"))


def test_the_door_is_shut_while_the_camera_is_heard_and_open_as_soon_as_it_leaves(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    floor.knock(heard)
    camera = floor.client(heard, pair)
    came_in(heard, camera)
    with pytest.raises(TimeoutError):
        floor.knock(heard)
    says(camera, 2)
    heard.until(lambda: 2 in heard.counters)
    camera.close()
    left_s = time.monotonic()
    again = floor.client(heard, pair)
    came_in(heard, again, 3)
    assert time.monotonic() - left_s < 10
    with pytest.raises(TimeoutError):
        floor.knock(heard)


def test_the_door_opens_again_for_a_camera_that_fell_silent_without_leaving(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair, heartbeat_ms=300.0)
    came_in(heard, floor.client(heard, pair))
    heard.after(0.35)
    floor.knock(heard)


def test_a_stranger_who_leaves_does_not_open_the_door(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair, heartbeat_ms=20_000.0)
    stranger = floor.knock(heard)
    came_in(heard, floor.client(heard, pair))
    heard.until(lambda: ended(stranger), seconds=5)
    heard.after(0.05)
    with pytest.raises(TimeoutError):
        floor.knock(heard)


def test_nobody_comes_in_while_nobody_answers_for_him(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    camera = floor.client(heard, pair)
    heard.feed._link._porter.answer = lambda: None
    end = time.monotonic() + 1.0
    heard.until(lambda: (says(camera), time.monotonic() > end)[1])
    assert not heard.heard


def test_nobody_comes_in_once_the_porter_is_gone(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    link = heard.feed._link
    link._porter.close()
    camera = floor.client(heard, pair)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        says(camera)
        assert not heard.feed.waiting()
        time.sleep(0.02)
    assert not heard.heard


def test_a_camera_that_sends_more_than_the_limit_is_cut_off_and_comes_back(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair, max_frame_bytes=4_096)
    camera = floor.client(heard, pair)
    came_in(heard, camera)
    topic, header, _ = make_parts(counter=2)
    camera.send_multipart([topic, header, bytes(8_192)])
    heard.after(0.1)
    assert heard.counters[-1] == 1
    came_in(heard, camera, 3)


class Between(threading.Thread):
    """Somebody on the cable: forwards both ways, keeps what the camera sent and may send it twice."""

    def __init__(self, to: str) -> None:
        super().__init__(daemon=True)
        host, _, port = to.removeprefix("tcp://").rpartition(":")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.box = socket.create_connection((host, int(port)))
        self.sent: list[bytes] = []
        self.tamper: str = ""
        self.cut = False

    def run(self) -> None:
        camera, _ = self.listener.accept()
        back = threading.Thread(target=self._back, args=(camera,), daemon=True)
        back.start()
        try:
            while data := camera.recv(65_536):
                self.sent.append(data)
                if self.tamper == "bit" and len(data) > 400:
                    data = data[:300] + bytes([data[300] ^ 1]) + data[301:]
                self.box.sendall(data * 2 if self.tamper == "twice" and len(data) > 400 else data)
        except OSError:
            self.cut = True
        camera.close()
        back.join(5)
        self.box.close()

    def _back(self, camera: socket.socket) -> None:
        try:
            while data := self.box.recv(65_536):
                camera.sendall(data)
        except OSError:
            pass
        self.cut = True
        self.listener.close()
        for each in (camera, self.box):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@pytest.mark.parametrize("tamper", ["twice", "bit"])
def test_ciphertext_that_is_repeated_or_altered_ends_the_connection_and_is_no_frame(floor: Floor, tamper: str) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    between = Between(heard.endpoint)
    between.start()
    camera = floor.camera(curve_publickey=pair.public, curve_secretkey=pair.secret, curve_serverkey=heard.box.public, reconnect_ivl=-1)
    camera.connect(between.endpoint)
    came_in(heard, camera, 1)
    between.tamper = tamper
    camera.send_multipart(numbers(2))
    heard.until(lambda: between.cut, seconds=2.5)  # at once, and not when its heartbeat times out
    heard.after(0.05)
    assert heard.counters == ([1, 2] if tamper == "twice" else [1])
    assert all(arrival.reason is Reason.OK for arrival in heard.arrivals)
    camera.close()
    between.join(10)


def test_a_recorded_connection_played_again_is_no_camera(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair, heartbeat_ms=200.0)
    between = Between(heard.endpoint)
    between.start()
    camera = floor.camera(curve_publickey=pair.public, curve_secretkey=pair.secret, curve_serverkey=heard.box.public, reconnect_ivl=-1)
    camera.connect(between.endpoint)
    came_in(heard, camera, 1)
    camera.close()
    heard.until(lambda: between.cut)
    between.join(10)
    recorded, before = b"".join(between.sent), len(heard.arrivals)
    again = floor.knock(heard)
    again.send(recorded)
    heard.until(lambda: ended(again), seconds=5)
    assert len(heard.arrivals) == before


CROWD = """
import resource, sys, time
sys.path[:0] = {paths!r}
from curve_kit import Floor, ended, new_pair, says
import zmq
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
floor = Floor(zmq.Context())
pair = new_pair()
heard = floor.listener(pair)
print(heard.endpoint, heard.box.public.decode(), pair.public.decode(), pair.secret.decode(), flush=True)
heard.until(lambda: 1 in heard.counters, seconds=15)
floor.close()
print("heard", flush=True)
"""


def test_a_crowd_that_takes_every_file_descriptor_keeps_the_camera_out_no_longer_than_a_handshake(floor: Floor) -> None:
    source = CROWD.format(paths=[str(Path(__file__).parent)])
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as box:
        assert box.stdout is not None
        endpoint, server, *pair = box.stdout.readline().split()
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        crowd = [socket.socket() for _ in range(150)]
        for stranger in crowd:
            stranger.setblocking(False)
            stranger.connect_ex((host, int(port)))
        camera = floor.camera(curve_publickey=pair[0].encode(), curve_secretkey=pair[1].encode(), curve_serverkey=server.encode())
        camera.connect(endpoint)
        end = time.monotonic() + 15
        while box.poll() is None and time.monotonic() < end:
            says(camera, 1)
            time.sleep(0.02)
        assert box.stdout.read().split() == ["heard"]
        for stranger in crowd:
            stranger.close()
    assert box.returncode == 0


def test_a_port_that_is_taken_is_named(floor: Floor) -> None:
    heard = floor.listener(new_pair())
    with pytest.raises(ConfigError, match="Address already in use"):
        floor.listener(new_pair(), endpoint=heard.endpoint)


def test_the_filter_fits_the_longest_list(floor: Floor) -> None:
    program = opened([])
    assert len(program) == 5
    heard = floor.listener(new_pair(), allow=(*(f"10.0.0.{number}" for number in range(1, 32)), "127.0.0.7"))
    floor.knock(heard, "127.0.0.7")
    with pytest.raises(TimeoutError):
        floor.knock(heard, "127.0.0.8")
