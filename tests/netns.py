"""Network namespaces for tests, with real devices in them.

Everything here is a context manager that takes away what it made. Names are unique to the process,
so that test runs side by side do not meet. A namespace has its loopback device up, and IPv6 off
unless asked for, so that no frame appears in it that a test did not send.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import needs

ETH_P_ALL = 3

_TUNSETIFF = 0x400454CA
_TUNSETLINK = 0x400454CD
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_CLONE_NEWNET = 0x40000000

_numbers = itertools.count(1)


def ip(*arguments: str) -> None:
    """Run ``ip`` (iproute2)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Namespace:
    """One network namespace, by its name."""

    name: str

    def ip(self, *arguments: str) -> None:
        """Run ``ip`` in this namespace."""
        ip("-n", self.name, *arguments)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs a command in this namespace."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def await_link(self, device: str) -> None:
        """Wait until a device passes frames; the kernel sees to it some time after ``up``."""
        ends = time.monotonic() + 20
        shown = ["ip", "-n", self.name, "-brief", "link", "show", device]
        while subprocess.run(shown, check=True, capture_output=True).stdout.split()[1] != b"UP":
            assert time.monotonic() < ends, f"{device} does not come up"
            time.sleep(0.005)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Move this thread here; sockets that it opens stay here when it has gone back."""
        with open("/proc/thread-self/ns/net") as before:
            _enter(Path("/run/netns", self.name))
            try:
                yield
            finally:
                _set_namespace(before.fileno())

    def packet_socket(self, device: str) -> socket.socket:
        """Return a socket that sends whole frames on a device."""
        with self.entered():
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sender.bind((device, 0))
        return sender

    def udp_socket(self, family: int = socket.AF_INET) -> socket.socket:
        """Return a UDP socket of this namespace."""
        with self.entered():
            return socket.socket(family, socket.SOCK_DGRAM)


def _enter(path: Path) -> None:
    with open(path) as there:
        _set_namespace(there.fileno())


def _set_namespace(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def namespace(*, ipv6: bool = False) -> Iterator[Namespace]:
    """Make a namespace with nothing but its loopback device."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        needs.lacking("root and iproute2")
    made = Namespace(f"np-test-{os.getpid()}-{next(_numbers)}")
    ip("netns", "add", made.name)
    try:
        if not ipv6:
            with made.entered():
                Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
        made.ip("link", "set", "lo", "up")
        yield made
    finally:
        ip("netns", "delete", made.name)


@contextlib.contextmanager
def veth_pair(*, ipv6: bool = False) -> Iterator[tuple[Namespace, Namespace]]:
    """Make two namespaces joined by a cable, ``veth0`` at both ends.

    Addresses are 10.99.0.1 and 10.99.0.2, with ``ipv6`` also fd99::1 and fd99::2; the hardware
    addresses are 02:00:00:00:00:01 and 02:00:00:00:00:02.
    """
    with namespace(ipv6=ipv6) as left, namespace(ipv6=ipv6) as right:
        left.ip(
            "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", right.name
        )
        for number, end in enumerate((left, right), start=1):
            end.ip("link", "set", "veth0", "address", f"02:00:00:00:00:0{number}")
            end.ip("address", "add", f"10.99.0.{number}/24", "dev", "veth0")
            end.ip("link", "set", "veth0", "up")
            if ipv6:
                end.ip("address", "add", f"fd99::{number}/64", "dev", "veth0", "nodad")
        for end in (left, right):
            end.await_link("veth0")
        yield left, right


@contextlib.contextmanager
def tun(
    where: Namespace, device: str = "tun0", *, hardware_type: int | None = None
) -> Iterator[int]:
    """Make a tun device; yields the descriptor to which IP packets are written that it receives."""
    if not os.path.exists("/dev/net/tun"):
        needs.lacking("/dev/net/tun")
    with where.entered():
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        request = struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
        if hardware_type is not None:
            set_hardware_type(descriptor, hardware_type)
        where.ip("link", "set", device, "up")
        yield descriptor
    finally:
        os.close(descriptor)


def set_hardware_type(descriptor: int, hardware_type: int) -> None:
    """Change the hardware type of a tun device that is down."""
    fcntl.ioctl(descriptor, _TUNSETLINK, hardware_type)
