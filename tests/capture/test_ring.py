"""The ring on real devices: what was sent is what is captured, once and whole, or counted."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from network_pipeline.capture.filters import programs
from network_pipeline.capture.ring import Ring, open_sockets
from network_pipeline.capture.ring_cells import CELLS, RingCells
from network_pipeline.capture.ring_socket import RingSocket
from network_pipeline.capture.source import SourceCounts
from network_pipeline.errors import CaptureError
from network_pipeline.frames import Frame, LinkType
from network_pipeline.settings import RingSettings
from tests import netns
from tests.capture.ringing import SMALL, frames_of, read_until, rest, ringing
from tests.capture.sniffing import ETHER, LEFT, RIGHT, Cable, datagrams, send, send_datagrams, udp


def test_bytes_captured_are_bytes_sent_at_both_ends(cable: Cable) -> None:
    chance = random.Random(7)
    sent = [bytes(ETHER) + chance.randbytes(chance.randint(0, 1500)) for _ in range(300)]
    before = time.time_ns()
    left, right = cable
    with ringing(left, "veth0") as outgoing, ringing(right, "veth0") as incoming:
        send(left, "veth0", sent)
        for ring in (outgoing, incoming):
            frames = rest(ring)
            assert [frame.data for frame in frames] == sent
            assert [frame.number for frame in frames] == list(range(1, len(sent) + 1))
            assert all(frame.wire_len == len(frame.data) for frame in frames)
            assert {(frame.interface, frame.link_type) for frame in frames} == {
                ("veth0", LinkType.ETHERNET)
            }
            times = [frame.time_ns for frame in frames]
            assert before < times[0] <= times[-1] < time.time_ns()
            assert times == sorted(times)
            assert any(moment % 1000 for moment in times)
            assert ring.counts() == SourceCounts(len(sent), 0, 0)


@pytest.mark.parametrize(
    "packet",
    [
        ETHER / Dot1Q(vlan=100, prio=5) / IP(dst="10.99.0.2") / UDP(dport=9) / b"one tag",
        ETHER / Dot1Q(vlan=0, prio=0) / IP(dst="10.99.0.2") / UDP(dport=9) / b"priority tag",
        ETHER / Dot1AD(vlan=7) / Dot1Q(vlan=100) / IP(dst="10.99.0.2") / UDP() / b"two tags",
        ETHER / Dot1Q(vlan=4095, dei=1) / Dot1Q(vlan=3) / Dot1Q(vlan=2) / b"three tags",
        ETHER / Dot1Q(vlan=5) / b"\x88\xb5",
    ],
    ids=lambda packet: packet.summary()[:40],
)
def test_vlan_tags_are_put_back(cable: Cable, packet: Ether) -> None:
    plain = bytes(Ether(dst=RIGHT, src=LEFT, type=0x88B5) / b"nobody answers this")
    left, right = cable
    with ringing(left, "veth0") as outgoing, ringing(right, "any") as incoming:
        send(left, "veth0", [plain, bytes(packet), plain])
        for ring in (outgoing, incoming):
            frames = rest(ring)
            assert [frame.data for frame in frames] == [plain, bytes(packet), plain]
            assert all(frame.wire_len == len(frame.data) for frame in frames)


@pytest.mark.parametrize("device", ["lo", "any"])
def test_loopback_shows_each_frame_once(where: netns.Namespace, device: str) -> None:
    with ringing(where, device, text="udp") as ring:
        send_datagrams(where, "127.0.0.1", 100)
        frames = rest(ring)
    assert datagrams(frames) == list(range(100))
    assert {frame.interface for frame in frames} == {"lo"}


def test_the_largest_datagram_is_captured_whole(where: netns.Namespace) -> None:
    payload = random.Random(1).randbytes(65_507)
    with ringing(where, "lo", text="udp") as ring:
        with where.udp_socket() as sender:
            sender.sendto(payload, ("127.0.0.1", 9))
        (frame,) = rest(ring)
    assert frame.wire_len == len(frame.data) == 65_549
    assert frame.data.endswith(payload)


def test_a_frame_is_cut_to_the_snap_length(where: netns.Namespace) -> None:
    settings = RingSettings(snap_bytes=100, retire_ms=20)
    with ringing(where, "lo", text="udp", settings=settings) as ring:
        send_datagrams(where, "127.0.0.1", 2, size=600)
        frames = rest(ring)
    assert [(len(frame.data), frame.wire_len) for frame in frames] == [(100, 642)] * 2


def test_any_takes_all_devices_each_with_its_link_type(cable: Cable) -> None:
    packet = bytes(IP(src="10.98.0.2", dst="10.98.0.1") / UDP(dport=9) / b"tun")
    left, right = cable
    with netns.tun(right) as descriptor, ringing(right, "any", text="udp port 9") as ring:
        send(left, "veth0", [udp()])
        os.write(descriptor, packet)
        send_datagrams(right, "127.0.0.1", 1)
        frames = {frame.interface: frame for frame in rest(ring)}
    assert (frames["veth0"].link_type, frames["veth0"].data) == (LinkType.ETHERNET, udp())
    assert (frames["tun0"].link_type, frames["tun0"].data) == (LinkType.RAW, packet)
    assert frames["lo"].link_type == LinkType.ETHERNET


def test_several_devices_share_one_session(cable: Cable) -> None:
    left, _ = cable
    with ringing(left, "lo", "veth0", text="udp") as ring:
        for address in ("127.0.0.1", "10.99.0.2", "127.0.0.1"):
            send_datagrams(left, address, 10)
        frames = rest(ring)
    assert [frame.number for frame in frames] == list(range(1, 31))
    assert sorted(frame.interface or "" for frame in frames) == ["lo"] * 20 + ["veth0"] * 10


def test_the_brokers_own_traffic_is_left_out(where: netns.Namespace) -> None:
    with where.entered():
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.socket()
    port = server.getsockname()[1]
    with server, client, ringing(where, "lo", endpoints=[("127.0.0.1", port)]) as ring:
        client.connect(("127.0.0.1", port))
        send_datagrams(where, "127.0.0.1", 3)
        assert [frame.data[23] for frame in rest(ring) if frame.data[23] != 1] == [17] * 3


# -- losses ----------------------------------------------------------------------------------------


def send_ten_thousand(where: netns.Namespace) -> None:
    for _ in range(100):
        send_datagrams(where, "10.99.0.2", 100)


def test_ten_thousand_datagrams_without_a_loss(cable: Cable) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp") as ring:
        send_ten_thousand(left)
        frames = rest(ring)
    assert datagrams(frames) == list(range(100)) * 100
    assert [frame.number for frame in frames] == list(range(1, 10_001))
    assert ring.counts() == SourceCounts(10_000, 0, 0)
    assert ring.freezes() == 0


def test_blocks_come_round_many_times(cable: Cable) -> None:
    left, _ = cable
    payloads: list[int] = []
    with ringing(left, "veth0", text="udp", settings=SMALL) as ring:
        for _ in range(50):
            send_datagrams(left, "10.99.0.2", 100)
            payloads += datagrams(read_until(ring, lambda frames: len(frames) == 100))
    assert payloads == list(range(100)) * 50
    assert ring.counts() == SourceCounts(5_000, 0, 0)


def test_blocks_that_are_ready_are_one_batch_of_half_the_ring_at_most(cable: Cable) -> None:
    left, _ = cable
    sizes = []
    for blocks in (2, 8):
        settings = replace(SMALL, blocks=blocks, retire_ms=1_000)  # given over when full
        with ringing(left, "veth0", text="udp", settings=settings) as ring:
            send_datagrams(left, "10.99.0.2", 700)
            first = frames_of(ring.read(1))
            sizes.append(len(first))
            frames = first + rest(ring)
        assert datagrams(frames) == list(range(len(frames)))
    assert len(frames) == 700
    assert sizes[1] == 4 * sizes[0]


def test_what_a_full_ring_drops_is_counted(cable: Cable) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp", settings=SMALL) as ring:
        send_datagrams(left, "10.99.0.2", 3_000)
        dropped = ring.counts().kernel_dropped
        frames = rest(ring)
    assert 0 < dropped < 3_000
    assert datagrams(frames) == list(range(3_000 - dropped))
    assert ring.counts() == SourceCounts(3_000, dropped, 0)
    assert ring.freezes() == 1


def test_it_goes_on_after_it_was_full(cable: Cable) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp", settings=SMALL) as ring:
        send_datagrams(left, "10.99.0.2", 3_000)
        dropped = ring.counts().kernel_dropped
        read_until(ring, lambda frames: len(frames) == 3_000 - dropped)
        send_datagrams(left, "10.99.0.2", 10)
        assert datagrams(rest(ring)) == list(range(10))
    assert ring.counts() == SourceCounts(3_010, dropped, 0)


def test_what_the_kernel_took_before_the_stop_is_not_lost(cable: Cable) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp") as ring:
        send_datagrams(left, "10.99.0.2", 2_000)
        ring.stop()
        send_datagrams(left, "10.99.0.2", 10)
        assert datagrams(rest(ring)) == list(range(2_000))
    assert ring.counts() == SourceCounts(2_000, 0, 0)


def test_a_session_ends_with_its_last_frame(cable: Cable) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp", last=7) as ring:
        send_datagrams(left, "10.99.0.2", 20)
        frames = read_until(ring, lambda frames: len(frames) >= 7)
        assert datagrams(frames + rest(ring)) == list(range(7))
    assert ring.counts() == SourceCounts(7, 0, 0)


def test_a_filter_is_replaced_without_losing_a_frame(cable: Cable) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp") as ring:
        with left.entered():
            chosen = [programs(["veth0"], text, [])["veth0"] for text in ("udp port 9", "udp")]
        sender = threading.Thread(target=send_ten_thousand, args=(left,))
        [sock] = ring._sockets
        frames: list[Frame] = []
        sender.start()
        for program in itertools.cycle(chosen):
            if not sender.is_alive():
                break
            sock.accept(program)
            frames += frames_of(ring.read(0))
        assert datagrams(frames + rest(ring)) == list(range(100)) * 100
    assert ring.counts() == SourceCounts(10_000, 0, 0)


def test_another_reader_goes_on_behind_the_last_block_that_was_taken(cable: Cable) -> None:
    left, _ = cable
    settings = replace(SMALL, blocks=64)
    with left.entered():
        cells = memoryview(bytearray(8 * CELLS)).cast("q")
        sock = RingSocket("veth0", settings, cells)
        sock.open()
        sock.accept(programs(["veth0"], "udp", [])["veth0"])
    first = Ring([sock])
    first.open()
    send_datagrams(left, "10.99.0.2", 1_000)
    read = len(read_until(first, lambda frames: len(frames) > 0))  # killed with this block taken
    second = Ring([sock])
    second.open()
    frames = rest(second)
    assert datagrams(frames) == list(range(read, 1_000))
    assert [frame.number for frame in frames] == list(range(1, 1_001 - read))
    assert second.counts() == SourceCounts(1_000 - read, 0, 0)
    second.close()


class Killed(Exception):
    """Stands for a SIGKILL."""


class Deadly:
    """Cells that kill who has written into them so many times."""

    def __init__(self, cells: memoryview, stores: int) -> None:
        self._cells = cells
        self._stores = stores

    def __getitem__(self, place: int | slice) -> Any:
        return self._cells[place]

    def __setitem__(self, place: int, value: int) -> None:
        if self._stores == 0:
            raise Killed
        self._stores -= 1
        self._cells[place] = value


@contextlib.contextmanager
def killed_after(stores: int, cells: RingCells) -> Iterator[None]:
    """Have whoever runs in the block die as it writes for the next time after so many."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells, "_cells", Deadly(cells._cells, stores))
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize("stores", range(8))
def test_who_is_killed_while_counting_loses_no_count(cable: Cable, stores: int) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp") as ring:
        [sock] = ring._sockets
        sock.count()
        send_datagrams(left, "10.99.0.2", 30)
        with killed_after(stores, sock.cells):
            sock.count()
        sock.count()
        assert sock.cells.waiting == 30
        send_datagrams(left, "10.99.0.2", 12)
        assert len(rest(ring)) == 42
        assert sock.cells.waiting == 0


@pytest.mark.parametrize("stores", range(3))
def test_who_is_killed_before_blocks_are_taken_took_none(cable: Cable, stores: int) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp") as ring:
        [sock] = ring._sockets
        send_datagrams(left, "10.99.0.2", 30)
        with killed_after(stores, sock.cells):
            read_until(ring, lambda frames: len(frames) > 0)
        sock.count()
        assert (sock.cells.waiting, sock.cells.read) == (30, 0)
        sock.recover()
        assert datagrams(rest(ring)) == list(range(30))


# -- flows -----------------------------------------------------------------------------------------


def test_members_of_a_group_share_frames_by_flow(cable: Cable) -> None:
    left, right = cable
    rings = []
    with right.entered():
        program = programs(["veth0"], "udp", [])["veth0"]
        sockets = [RingSocket("veth0", SMALL) for _ in range(3)]
        group = None
        for sock in sockets:
            sock.open()
            group = sock.join(group)
        for sock in sockets:
            sock.accept(program)
            rings.append(Ring([sock]))
            rings[-1].open()
    packets = [
        bytes(ETHER / IP(src="10.99.0.1", dst="10.99.0.2") / UDP(sport=port, dport=9) / b"x")
        for port in range(1_000, 1_040)
    ]
    send(left, "veth0", packets * 3)
    ports = [{frame.data[34:36] for frame in rest(ring)} for ring in rings]
    assert sum(ring.counts().captured for ring in rings) == 120
    assert sum(map(len, ports)) == len(set.union(*ports)) == 40
    assert all(ports)
    for ring in rings:
        ring.close()


def test_one_flow_in_some_is_kept_whole_and_the_others_are_counted(cable: Cable) -> None:
    left, _ = cable
    ends = [("10.99.0.1", "10.99.0.2"), ("10.99.0.2", "10.99.0.1")]
    packets = []
    for port in range(1_000, 1_200):
        ports = [(port, 9), (9, port)]
        packets += [
            bytes(ETHER / IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / b"x")
            for (src, dst), (sport, dport) in zip(ends, ports, strict=True)
        ]
    settings = RingSettings(retire_ms=20, sample=4)
    with ringing(left, "veth0", text="udp", settings=settings) as ring:
        send(left, "veth0", packets)
        frames = rest(ring)
    counts = ring.counts()
    assert counts == SourceCounts(400, 0, 0, 400 - len(frames))
    assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    assert 60 < len(frames) < 140
    flows = [frozenset((frame.data[34:36], frame.data[36:38])) for frame in frames]
    assert all(flows.count(flow) == 2 for flow in flows)


# -- what cannot be opened -------------------------------------------------------------------------


def test_an_unknown_device_is_refused_and_nothing_stays_open(where: netns.Namespace) -> None:
    before = os.listdir("/proc/self/fd")
    with where.entered():
        program = programs(["lo"], "udp", [])["lo"]
        with pytest.raises(CaptureError, match="no network device 'eth7'; there are lo, any"):
            open_sockets({"lo": program, "eth7": program}, SMALL)
    assert os.listdir("/proc/self/fd") == before


def test_a_ring_that_the_kernel_has_no_memory_for_is_refused(where: netns.Namespace) -> None:
    settings = replace(SMALL, blocks=2**31)
    with (
        where.entered(),
        pytest.raises(CaptureError, match="no ring of 2147483648 blocks of 16384"),
    ):
        open_sockets(programs(["lo"], "", []), settings)


def test_memory_goes_with_the_last_batch(where: netns.Namespace) -> None:
    before = os.listdir("/proc/self/fd")
    with ringing(where, "lo", text="udp") as ring:
        send_datagrams(where, "127.0.0.1", 1)
        while not len(batch := ring.read(1)):
            pass
    assert datagrams(frames_of(batch)) == [0]
    del batch
    assert os.listdir("/proc/self/fd") == before
