"""Whatever the sniffer cannot keep is in exactly one count."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from network_pipeline.capture import packet_socket
from network_pipeline.capture.frame_queue import FrameQueue
from network_pipeline.capture.source import SourceCounts
from network_pipeline.frames import Frame
from tests.capture.sniffing import (
    Cable,
    awaited,
    datagrams,
    rest,
    send_datagrams,
    sniffing,
    taken,
)


def test_ten_thousand_datagrams_without_a_loss(cable: Cable) -> None:
    left, _ = cable
    with sniffing(left, "veth0", text="udp") as sniffer:
        for _ in range(100):
            send_datagrams(left, "10.99.0.2", 100)
        frames = taken(sniffer, 10_000)
    assert datagrams(frames) == list(range(100)) * 100
    assert [frame.number for frame in frames] == list(range(1, 10_001))
    assert sniffer.counts() == SourceCounts(10_000, 0, 0)


def test_what_the_kernel_drops_is_counted(cable: Cable, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, goes_on = threading.Event(), threading.Event()
    put = FrameQueue.put

    def put_later(queue: FrameQueue, burst: Sequence[Frame]) -> None:
        reading.set()
        goes_on.wait()
        put(queue, burst)

    monkeypatch.setattr(FrameQueue, "put", put_later)
    monkeypatch.setattr(packet_socket, "RECEIVE_BUFFER_BYTES", 64 * 1024)
    sent = 3_000
    left, _ = cable
    with sniffing(left, "veth0", text="udp") as sniffer:
        try:
            send_datagrams(left, "10.99.0.2", 1)
            assert reading.wait(20)
            send_datagrams(left, "10.99.0.2", sent - 1)
            dropped = sniffer.counts().kernel_dropped
        finally:
            goes_on.set()
        frames = taken(sniffer, sent)
    assert 0 < dropped < sent
    assert sniffer.counts() == SourceCounts(sent, dropped, 0)
    assert [frame.number for frame in frames] == list(range(1, sent - dropped + 1))


def test_what_the_queue_cannot_hold_is_counted_and_its_numbers_used_up(cable: Cable) -> None:
    left, _ = cable
    with sniffing(left, "veth0", text="udp", queue_frames=10) as sniffer:
        send_datagrams(left, "10.99.0.2", 25)
        assert awaited(lambda: sniffer.counts() == SourceCounts(25, 0, 15))
        assert [frame.number for frame in sniffer.read(0)] == list(range(1, 11))
        send_datagrams(left, "10.99.0.2", 5)
        assert [frame.number for frame in taken(sniffer, 30)] == list(range(26, 31))
    assert sniffer.counts() == SourceCounts(30, 0, 15)


def test_what_the_kernel_took_before_the_stop_is_not_lost(cable: Cable) -> None:
    left, _ = cable
    with sniffing(left, "veth0", text="udp") as sniffer:
        send_datagrams(left, "10.99.0.2", 2_000)
        sniffer.stop()
        send_datagrams(left, "10.99.0.2", 10)
        assert datagrams(rest(sniffer)) == list(range(2_000))
    assert sniffer.counts() == SourceCounts(2_000, 0, 0)


def test_a_session_ends_with_its_last_frame(cable: Cable) -> None:
    left, _ = cable
    with sniffing(left, "veth0", text="udp", stop_after_num=7) as sniffer:
        send_datagrams(left, "10.99.0.2", 20)
        assert datagrams(taken(sniffer, 7)) == list(range(7))
    assert sniffer.counts() == SourceCounts(7, 0, 0)
