"""Devices of a ring that go down, are renamed, are removed, and come back."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

import pytest
from scapy.layers.inet import IP, UDP

from network_pipeline.capture.ring import Ring
from network_pipeline.capture.source import SourceCounts
from network_pipeline.frames import Frame
from tests import netns
from tests.capture.ringing import frames_of, rest, ringing
from tests.capture.sniffing import Cable, datagrams, send_datagrams


def read_while(ring: Ring, goes_on: Callable[[], bool]) -> list[Frame]:
    frames: list[Frame] = []
    deadline = time.monotonic() + 20
    while goes_on():
        assert time.monotonic() < deadline
        frames += frames_of(ring.read(0.05))
    return frames


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno > logging.INFO]


def test_capture_goes_on_when_a_device_was_down(
    cable: Cable, caplog: pytest.LogCaptureFixture
) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp") as ring:
        send_datagrams(left, "10.99.0.2", 1)
        left.ip("link", "set", "veth0", "down")
        frames = read_while(ring, lambda: len(warnings(caplog)) < 1)
        left.ip("link", "set", "veth0", "up")
        left.await_link("veth0")
        frames += read_while(ring, lambda: len(warnings(caplog)) < 2)
        send_datagrams(left, "10.99.0.2", 1)
        frames += rest(ring)
    assert [frame.number for frame in frames] == [1, 2]
    assert warnings(caplog) == [
        "device veth0 is down; capture goes on when it is up again",
        "device veth0 is up again",
    ]


def test_it_does_not_spin_while_a_device_is_down(cable: Cable) -> None:
    left, _ = cable
    left.ip("link", "set", "veth0", "down")
    with ringing(left, "veth0", text="udp") as ring:
        ring.read(0)
        before = time.thread_time()
        for _ in range(10):
            ring.read(0.05)
        assert time.thread_time() - before < 0.1


def test_a_renamed_device_is_followed(cable: Cable, caplog: pytest.LogCaptureFixture) -> None:
    left, _ = cable
    with ringing(left, "veth0", text="udp") as ring:
        left.ip("link", "set", "veth0", "down")
        read_while(ring, lambda: len(warnings(caplog)) < 1)
        left.ip("link", "set", "veth0", "name", "wan0")
        left.ip("link", "set", "wan0", "up")
        left.await_link("wan0")
        read_while(ring, lambda: len(warnings(caplog)) < 3)
        send_datagrams(left, "10.99.0.2", 2)
        frames = rest(ring)
    assert warnings(caplog)[1:] == [
        "device wan0 is up again",
        "device veth0 is called wan0 now",
    ]
    assert [frame.interface for frame in frames] == ["wan0"] * 2


def test_a_removed_device_is_waited_for(
    where: netns.Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    with netns.tun(where, "tun9") as first, ringing(where, "tun9", "lo", text="udp") as ring:
        packet = bytes(IP(src="10.98.0.2", dst="10.98.0.1") / UDP(dport=9) / b"8 bytes.")
        os.write(first, packet)
        where.ip("link", "delete", "tun9")
        frames = read_while(ring, lambda: len(warnings(caplog)) < 1)
        send_datagrams(where, "127.0.0.1", 3)
        with netns.tun(where, "tun9") as second:
            frames += read_while(ring, lambda: len(warnings(caplog)) < 2)
            os.write(second, packet)
            frames += rest(ring)
    assert [frame.data for frame in frames if frame.interface == "tun9"] == [packet] * 2
    assert datagrams([frame for frame in frames if frame.interface == "lo"]) == [0, 1, 2]
    assert ring.counts() == SourceCounts(5, 0, 0)
    assert warnings(caplog) == [
        "device tun9 was removed; capture goes on when it is there again",
        "device tun9 is there again",
    ]
