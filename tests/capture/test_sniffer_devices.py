"""Devices that come and go, and what cannot be captured on."""

from __future__ import annotations

import itertools
import logging
import os
import re
import subprocess
import sys

import pytest
from scapy.layers.inet import IP, UDP

from network_pipeline.capture.source import SourceCounts
from network_pipeline.errors import CaptureError
from network_pipeline.frames import Frame
from tests import needs, netns
from tests.capture.sniffing import (
    Cable,
    awaited,
    datagrams,
    send_datagrams,
    sniffing,
    taken,
)

RADIOTAP, TUNNEL = 803, 0xFFFE


def test_capture_goes_on_when_a_device_was_down(
    cable: Cable, caplog: pytest.LogCaptureFixture
) -> None:
    left, _ = cable
    with sniffing(left, "veth0", text="udp") as sniffer:
        send_datagrams(left, "10.99.0.2", 1)
        left.ip("link", "set", "veth0", "down")
        assert awaited(lambda: "down" in caplog.text)
        assert [frame.number for frame in sniffer.read(20)] == [1]
        left.ip("link", "set", "veth0", "up")
        left.await_link("veth0")
        send_datagrams(left, "10.99.0.2", 1)
        (frame,) = taken(sniffer, 2)
    assert frame.number == 2
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == [
        "device veth0 is down; capture goes on when it is up again",
        "device veth0 is up again",
    ]


def test_capture_begins_when_a_device_comes_up(
    cable: Cable, caplog: pytest.LogCaptureFixture
) -> None:
    left, _ = cable
    left.ip("link", "set", "veth0", "down")
    with sniffing(left, "veth0", text="udp") as sniffer:
        assert awaited(lambda: "veth0 is down" in caplog.text)
        left.ip("link", "set", "veth0", "up")
        left.await_link("veth0")
        send_datagrams(left, "10.99.0.2", 1)
        assert len(taken(sniffer, 1)) == 1


def test_frames_of_a_removed_device_are_read_before_the_error(cable: Cable) -> None:
    left, _ = cable
    with sniffing(left, "veth0", text="udp") as sniffer:
        send_datagrams(left, "10.99.0.2", 300)
        left.ip("link", "delete", "veth0")
        frames: list[Frame] = []
        with pytest.raises(CaptureError, match="no device is left to capture on: veth0"):
            frames.extend(itertools.chain.from_iterable(map(sniffer.read, itertools.repeat(20.0))))
        assert datagrams(frames) == list(range(300))
        sniffer.stop()
        assert sniffer.read(20) == []
    assert sniffer.counts() == SourceCounts(300, 0, 0)


def test_capture_goes_on_with_the_devices_that_are_left(
    cable: Cable, caplog: pytest.LogCaptureFixture
) -> None:
    left, _ = cable
    with sniffing(left, "veth0", "lo", text="udp") as sniffer:
        send_datagrams(left, "10.99.0.2", 5)
        left.ip("link", "delete", "veth0")
        assert awaited(lambda: "device veth0 was removed" in caplog.text)
        send_datagrams(left, "127.0.0.1", 5)
        frames = taken(sniffer, 10)
    assert [frame.interface for frame in frames] == ["veth0"] * 5 + ["lo"] * 5
    assert sniffer.counts() == SourceCounts(10, 0, 0)


# -- what cannot be opened -------------------------------------------------------------------------


def test_an_unknown_device_is_refused_and_nothing_stays_open(where: netns.Namespace) -> None:
    before = os.listdir("/proc/self/fd")
    with (
        pytest.raises(CaptureError, match="no network device 'eth7'; there are lo, any"),
        sniffing(where, "lo", "eth7"),
    ):
        pass
    assert os.listdir("/proc/self/fd") == before


def test_a_filter_that_does_not_compile_is_refused(where: netns.Namespace) -> None:
    with (
        pytest.raises(CaptureError, match=r"^filter 'tcp\) or \(udp': can't parse"),
        sniffing(where, "lo", text="tcp) or (udp"),
    ):
        pass


def test_too_long_a_filter_is_refused(where: netns.Namespace) -> None:
    text = " or ".join(f"ether[{offset}] = 1" for offset in range(1_500))
    with (
        pytest.raises(CaptureError, match="the filter is too long for the kernel"),
        sniffing(where, "lo", text=text),
    ):
        pass


def test_without_permission_it_says_how_to_get_it() -> None:
    if os.geteuid() != 0:
        needs.lacking("root")
    child = """
import os
from network_pipeline.capture.sniffer import Sniffer
from network_pipeline.errors import CapturePermissionError
from network_pipeline.settings import CaptureSettings
os.setresuid(65534, 65534, 65534)
try:
    Sniffer(CaptureSettings(("lo",), "tcp", "test"), []).open()
except CapturePermissionError as error:
    print(error.exit_code, error)
"""
    run = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert re.fullmatch(
        "4 no permission to capture: use sudo, or allow it once and for all with "
        r"sudo setcap cap_net_raw\+ep /\S*/python[\d.]*\n",
        run.stdout,
    )


@pytest.mark.parametrize("device", ["tun0", "any"])
def test_a_device_that_changes_its_hardware_type_is_left_out_meanwhile(
    where: netns.Namespace, device: str
) -> None:
    """The filter asks each frame for it, so none of another type is ever read."""
    packet = bytes(IP(src="10.98.0.2", dst="10.98.0.1") / UDP(dport=9) / b"tun")
    with netns.tun(where) as descriptor, sniffing(where, device, text="udp port 9") as sniffer:
        os.write(descriptor, packet)
        for hardware_type in (RADIOTAP, TUNNEL):
            where.ip("link", "set", "tun0", "down")
            netns.set_hardware_type(descriptor, hardware_type)
            where.ip("link", "set", "tun0", "up")
            os.write(descriptor, packet)
        frames = taken(sniffer, 2)
        assert sniffer.counts() == SourceCounts(2, 0, 0)
    assert [frame.data for frame in frames] == [packet, packet]
