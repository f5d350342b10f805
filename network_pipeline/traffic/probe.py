"""Traffic simulators below UDP and TCP: ARP requests on a device, ICMP echo requests to a host.

Both need CAP_NET_RAW. ICMP echo also works without it where ``net.ipv4.ping_group_range`` holds the
user's group: then the kernel's own ping socket is used, which chooses the identifier itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from network_pipeline.errors import CapturePermissionError, UsageError
from network_pipeline.traffic.craft import BROADCAST_MAC, Ends, arp_request, echo_request
from network_pipeline.traffic.send import NOTHING_SENT, Load, SendCounts, explained, paced
from network_pipeline.traffic.text import Say, message, shown

_SIOCGIFADDR = 0x8915
_HARDWARE_TYPES = {1, 772}  # Ethernet, loopback (linux/if_arp.h)
_ECHO_REPLY = {4: 0, 6: 129}  # RFC 792, RFC 4443 section 4.2
_NO_ADDRESS = "0.0.0.0"  # noqa: S104  nothing is bound to it
_PERMISSION = "CAP_NET_RAW is missing: run it with sudo"


class ArpTarget(NamedTuple):
    """Whom to ask for: on which device, which IPv4 address ('': the device's own), at which MAC."""

    device: str = "lo"
    address: str = ""
    mac: str = BROADCAST_MAC


def send_arp(target: ArpTarget, load: Load, say: Say, stop: threading.Event) -> SendCounts:
    """Send ARP requests; a device without an IPv4 address sends probes (RFC 5227 section 2.1.1).

    Raises:
        UsageError: no such device, or no Ethernet on it; a bad address.
        CapturePermissionError: CAP_NET_RAW is missing.
        NetworkPipelineError: the device is down.
    """
    counts = NOTHING_SENT
    _check(target)
    with _packet_socket(target.device) as sender:
        ends = _arp_ends(sender, target)
        frame = arp_request(ends)
        for _ in paced(load, stop):
            say(
                f"sending ARP: device={target.device} mac={ends.destination_mac} "
                f"who-has={ends.destination} tell={ends.source}"
            )
            with explained(target.device, "check the device"):
                sender.send(frame)
            counts = counts.plus(len(frame), None)
    return counts


def _check(target: ArpTarget) -> None:
    if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", target.mac):
        raise UsageError(f"{target.mac}: no MAC address such as {BROADCAST_MAC}")
    try:
        ipaddress.IPv4Address(target.address or _NO_ADDRESS)
    except ValueError:
        raise UsageError(f"{target.address}: ARP asks for IPv4 addresses only") from None


@contextlib.contextmanager
def _packet_socket(device: str) -> Iterator[socket.socket]:
    """Open a packet socket that only sends: with protocol 0 it receives nothing (man 7 packet)."""
    try:
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        raise CapturePermissionError(f"ARP on {device}: {_PERMISSION}") from None
    with sender:
        try:
            sender.bind((device, 0))
        except OSError as error:
            raise UsageError(
                f"{device}: {error.strerror or error}; `ip link` lists the devices"
            ) from None
        yield sender


def _arp_ends(sender: socket.socket, target: ArpTarget) -> Ends:
    _, _, _, hardware_type, hardware_address = sender.getsockname()
    if hardware_type not in _HARDWARE_TYPES:
        raise UsageError(f"{target.device} has no Ethernet, so there is no ARP on it")
    own = _own_address(target.device)
    return Ends(hardware_address.hex(":"), target.mac.lower(), own, target.address or own)


def _own_address(device: str) -> str:
    request = struct.pack("256s", device.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
        try:
            answer = fcntl.ioctl(question, _SIOCGIFADDR, request)
        except OSError:
            return _NO_ADDRESS
    # struct ifreq: 16 bytes of name, then a sockaddr_in with the address at its fourth byte
    return socket.inet_ntoa(answer[20:24])


def send_icmp(host: str, load: Load, say: Say, stop: threading.Event) -> SendCounts:
    """Send ICMP or ICMPv6 echo requests; with ``load.wait``, wait after each for its reply.

    Raises:
        UsageError: no such host.
        CapturePermissionError: neither a raw nor a ping socket is allowed.
        NetworkPipelineError: the network refuses.
    """
    counts = NOTHING_SENT
    with _Pinger(host) as pinger:
        for number in paced(load, stop):
            sequence = number & 0xFFFF
            content = (load.text or message("ICMP")).encode("utf-8", "surrogateescape")
            say(f"sending ICMP: address={pinger.address} seq={sequence} msg={shown(content)}")
            with explained(host, "check the address"):
                pinger.send(sequence, content)
                reply = pinger.reply(sequence, load.wait) if load.wait else None
            if load.wait:
                came = (
                    f"received ICMP reply={shown(reply)}" if reply is not None else "no ICMP reply"
                )
                say(f"{came} seq={sequence}")
            counts = counts.plus(len(content), None if reply is None else len(reply))
    return counts


class _Pinger:
    """Echo requests to one host, over a raw socket or else over the kernel's ping socket."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._identifier = os.getpid() & 0xFFFF

    def __enter__(self) -> _Pinger:
        with explained(self._host, "check the address"):
            family, _, _, _, address = socket.getaddrinfo(self._host, None, type=socket.SOCK_DGRAM)[
                0
            ]
            self._version = 4 if family == socket.AF_INET else 6
            self._socket = self._opened(family)
            try:
                self._socket.connect(address)
            except OSError:
                self._socket.close()
                raise
        self.address = str(address[0])
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _opened(self, family: socket.AddressFamily) -> socket.socket:
        protocol = socket.IPPROTO_ICMP if self._version == 4 else socket.IPPROTO_ICMPV6
        for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
            with contextlib.suppress(PermissionError):
                return socket.socket(family, kind, protocol)
        raise CapturePermissionError(f"ICMP to {self._host}: {_PERMISSION}")

    def send(self, sequence: int, content: bytes) -> None:
        self._socket.send(echo_request(self._version, self._identifier, sequence, content))

    def reply(self, sequence: int, wait: float) -> bytes | None:
        """Return what the reply carries, None where none came within ``wait`` seconds."""
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                content = self._carried(self._socket.recv(65535), sequence)
            except TimeoutError:
                break
            if content is not None:
                return content
        return None

    def _carried(self, packet: bytes, sequence: int) -> bytes | None:
        is_raw = self._socket.type == socket.SOCK_RAW
        # Only raw IPv4 sockets deliver the IP header (man 7 raw); its low nibble counts words.
        start = (packet[0] & 0x0F) * 4 if is_raw and self._version == 4 else 0
        if len(packet) < start + 8:
            return None
        kind, _, _, identifier, number = struct.unpack_from("!BBHHH", packet, start)
        ours = identifier == self._identifier or not is_raw
        if kind != _ECHO_REPLY[self._version] or number != sequence or not ours:
            return None
        return packet[start + 8 :]
