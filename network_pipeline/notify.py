"""Tells systemd how a service is doing (man sd_notify): one datagram to a socket that it names."""

from __future__ import annotations

import contextlib
import socket


class Notifier:
    """Sends states such as ``READY=1``; nothing without an address.

    ``address`` is systemd's ``NOTIFY_SOCKET``: a path, or ``@`` and a name that is no file.
    """

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def send(self, *states: str) -> None:
        """Send states. That systemd does not listen is no reason to stop."""
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.connect(self._address)
            sock.send("\n".join(states).encode())
