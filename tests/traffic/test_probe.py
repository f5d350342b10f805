from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.traffic.probe import ArpTarget, send_arp, send_icmp
from network_pipeline.traffic.send import Load, SendCounts
from tests import needs, netns
from tests.traffic.serving import SECONDS

ETH_P_ARP = 0x0806
BROADCAST = "ff" * 6


@pytest.fixture(scope="module")
def cable() -> Iterator[tuple[netns.Namespace, netns.Namespace]]:
    with netns.veth_pair(ipv6=True) as pair:
        yield pair


@pytest.fixture
def arp_listener(cable: tuple[netns.Namespace, netns.Namespace]) -> Iterator[socket.socket]:
    with cable[1].entered():
        listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
    with listener:
        listener.bind(("veth0", ETH_P_ARP))
        listener.settimeout(SECONDS)
        yield listener


def test_arp_requests_are_on_the_wire_as_asked(
    cable: tuple[netns.Namespace, netns.Namespace], arp_listener: socket.socket
) -> None:
    said: list[str] = []
    target = ArpTarget("veth0", "10.99.0.7")
    with cable[0].entered():
        counts = send_arp(target, Load(count=2), said.append, threading.Event())
    assert counts == SendCounts(2, 84, 0, 0)
    expected = (
        BROADCAST + "020000000001" "0806" "0001080006040001"
        "020000000001" "0a630001" "000000000000" "0a630007"
    )  # fmt: skip
    assert [arp_listener.recv(100).hex() for _ in range(2)] == [expected] * 2
    assert (
        said
        == ["sending ARP: device=veth0 mac=ff:ff:ff:ff:ff:ff who-has=10.99.0.7 tell=10.99.0.1"] * 2
    )


def test_arp_asks_for_the_devices_own_address_unless_told(
    cable: tuple[netns.Namespace, netns.Namespace], arp_listener: socket.socket
) -> None:
    target = ArpTarget("veth0", mac="02:00:00:00:00:02")
    with cable[0].entered():
        send_arp(target, Load(), print, threading.Event())
    frame = arp_listener.recv(100)
    assert frame[:6].hex() == "020000000002"
    assert frame[28:32] == frame[38:42] == bytes([10, 99, 0, 1])


def test_arp_on_a_device_without_an_address_is_a_probe() -> None:
    with netns.namespace() as bare:
        bare.ip("link", "add", "bare0", "type", "veth", "peer", "name", "bare1")
        bare.ip("link", "set", "bare1", "up")
        bare.ip("link", "set", "bare0", "up")
        said: list[str] = []
        with bare.entered():
            send_arp(ArpTarget("bare0", "10.0.0.1"), Load(), said.append, threading.Event())
            bare.ip("link", "set", "bare0", "down")
            with pytest.raises(NetworkPipelineError, match="bare0: Network is down"):
                send_arp(ArpTarget("bare0"), Load(), print, threading.Event())
    assert said[0].endswith("who-has=10.0.0.1 tell=0.0.0.0")


def test_arp_needs_ethernet() -> None:
    with (
        netns.namespace() as bare,
        netns.tun(bare),
        bare.entered(),
        pytest.raises(UsageError, match="tun0 has no Ethernet"),
    ):
        send_arp(ArpTarget("tun0"), Load(), print, threading.Event())


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (ArpTarget(address="::1"), "::1: ARP asks for IPv4 addresses only"),
        (ArpTarget(address="10.0.0.256"), "10.0.0.256: ARP asks for IPv4 addresses only"),
        (ArpTarget(mac="02:00"), "02:00: no MAC address such as ff:ff:ff:ff:ff:ff"),
        (ArpTarget(device="no-such0"), "no-such0: No such device"),
        (ArpTarget(device="a-name-much-too-long"), "a-name-much-too-long: "),
    ],
)
def test_arp_with_a_wrong_target(target: ArpTarget, expected: str) -> None:
    with netns.namespace() as bare, bare.entered(), pytest.raises(UsageError, match=expected):
        send_arp(target, Load(), print, threading.Event())


@pytest.mark.parametrize("host", ["10.99.0.2", "fd99::2", "127.0.0.1", "::1"])
def test_icmp_is_answered(cable: tuple[netns.Namespace, netns.Namespace], host: str) -> None:
    said: list[str] = []
    load = Load(count=3, text="ping", wait=SECONDS)
    with cable[0].entered():
        counts = send_icmp(host, load, said.append, threading.Event())
    assert counts == SendCounts(3, 12, 3, 12)
    assert said[4] == f"sending ICMP: address={host} seq=3 msg=ping"
    assert said[5] == "received ICMP reply=ping seq=3"


def test_icmp_without_a_reply(cable: tuple[netns.Namespace, netns.Namespace]) -> None:
    said: list[str] = []
    with cable[0].entered():
        load = Load(count=2, wait=0.01)
        counts = send_icmp("10.99.0.77", load, said.append, threading.Event())
    assert counts == SendCounts(2, 160, 0, 0)
    assert said[1::2] == ["no ICMP reply seq=1", "no ICMP reply seq=2"]


def test_icmp_where_there_is_no_way(cable: tuple[netns.Namespace, netns.Namespace]) -> None:
    with cable[0].entered():
        with pytest.raises(NetworkPipelineError, match="Network is unreachable"):
            send_icmp("192.0.2.1", Load(), print, threading.Event())
        with pytest.raises(UsageError, match="no such host"):
            send_icmp("no-such-host.invalid", Load(), print, threading.Event())


def without_net_raw(where: netns.Namespace, call: str) -> str:
    """Run a call where CAP_NET_RAW cannot be had; return its output and its last error line."""
    setpriv = needs.program("setpriv")
    code = f"import threading\nfrom network_pipeline.traffic.probe import *\nprint({call})"
    command = where.command(
        setpriv, "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, "-c", code
    )
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return (run.stdout + run.stderr).strip().splitlines()[-1]


def test_without_cap_net_raw() -> None:
    ping = "send_icmp('127.0.0.1', Load(text='x', wait=10.0), str, threading.Event())"
    error = "network_pipeline.errors.CapturePermissionError: "
    with netns.namespace() as bare:
        arp = "send_arp(ArpTarget(), Load(), str, threading.Event())"
        advice = "CAP_NET_RAW is missing: run it with sudo"
        assert without_net_raw(bare, arp) == f"{error}ARP on lo: {advice}"
        assert without_net_raw(bare, ping) == f"{error}ICMP to 127.0.0.1: {advice}"
        with bare.entered():
            Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 0")
        counts = "SendCounts(sent=1, sent_bytes=1, replies=1, reply_bytes=1)"
        assert without_net_raw(bare, ping) == counts
