"""Programs as built; what the kernel makes of them is in test_sniffer.py."""

from __future__ import annotations

import re
import socket
import sys

import pytest
import scapy.libs

from network_pipeline.capture import filters
from network_pipeline.capture.libpcap import ACCEPT, REJECT, Instruction, compile_filter
from network_pipeline.errors import BrokerUnreachable, CaptureError
from network_pipeline.frames import LinkType

Addresses = list[tuple[object, ...]]


def test_broker_filter_has_every_address_of_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"one": ["10.0.0.1", "fe80::1%eth0", "10.0.0.1"], "two": ["10.0.0.2"]}

    def resolve(host: str, port: None, **_: object) -> Addresses:
        return [(0, 0, 0, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert filters.broker_filter([("one", 6379), ("two", 5672)]) == (
        "(tcp port 6379 and (host 10.0.0.1 or host fe80::1)) or (tcp port 5672 and (host 10.0.0.2))"
    )


@pytest.mark.parametrize(
    ("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::1", "::1")]
)
def test_broker_at_no_address_is_reached_at_loopback(host: str, reached: str) -> None:
    assert filters.broker_filter([(host, 1)]) == f"(tcp port 1 and (host {reached}))"


def test_no_broker_is_no_filter() -> None:
    assert filters.broker_filter([]) == ""


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b"])
def test_unknown_broker_host(host: str) -> None:
    with pytest.raises(BrokerUnreachable, match=f"host '{re.escape(host)}' has no address"):
        filters.broker_filter([(host, 6379)])


@pytest.mark.parametrize("text", ["tcp) or (udp", "(tcp", "bogus", "tcp port", "ip and ip6"])
def test_what_libpcap_refuses_is_quoted_with_its_message(text: str) -> None:
    with pytest.raises(CaptureError) as caught:
        filters.device_program(text, "tcp port 1", LinkType.ETHERNET, "lo")
    assert str(caught.value).startswith(f"filter {text!r}: ")
    assert str(caught.value).split(": ", 1)[1] in (
        "can't parse filter expression: syntax error",
        "expression rejects all packets",
    )


def test_missing_libpcap_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(scapy.libs, "winpcapy", raising=False)
    monkeypatch.delitem(sys.modules, "scapy.libs.winpcapy", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(CaptureError, match=r"libpcap is missing: apt-get install libpcap0\.8"):
        compile_filter("tcp", LinkType.ETHERNET)


def test_a_match_keeps_the_whole_frame() -> None:
    returns = [one for one in compile_filter("udp", LinkType.ETHERNET) if one.code == 6]
    assert returns == [ACCEPT, REJECT]


def test_a_filter_is_the_same_wherever_it_stands() -> None:
    user = compile_filter("udp port 53", LinkType.ETHERNET)
    broker = "tcp port 6379 and (host 10.0.0.1)"
    assert filters.device_program("udp port 53", "", LinkType.ETHERNET, "lo")[-len(user) - 1 :] == (
        *user,
        REJECT,
    )
    excluded = compile_filter(broker, LinkType.RAW)
    program = filters.device_program("udp", broker, LinkType.RAW, "tun0")
    start = program.index(Instruction(0x30, 0, 0, 0))  # the first load of the exclusion
    for position, (one, own) in enumerate(zip(program[start:], excluded, strict=False)):
        end = len(excluded) - position - 1
        jump = Instruction(5, 0, 0, end)
        assert one == {ACCEPT: REJECT, REJECT: jump}.get(own, own)


def test_arp_on_all_devices_leaves_bare_ip_out() -> None:
    assert len(filters.any_program("arp", "")) < len(filters.any_program("ip", ""))
    with pytest.raises(CaptureError, match="expression rejects all packets"):
        filters.device_program("arp", "", LinkType.RAW, "tun0")


def test_too_long_a_filter() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        filters.attach(left, (ACCEPT,) * filters.MAX_INSTRUCTIONS)
        with pytest.raises(CaptureError, match="too long for the kernel: 4097 instructions"):
            filters.attach(left, (ACCEPT,) * (filters.MAX_INSTRUCTIONS + 1))
