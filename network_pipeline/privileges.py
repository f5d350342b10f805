"""Gives root up for good, once what needs it is open.

The C library changes the user ids of all threads together, so it holds for threads that run
already. A process that does not run as root keeps what it has: it was given CAP_NET_RAW on purpose.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from network_pipeline.errors import CaptureError, UsageError

#: The user and the group that own nothing.
NOBODY = (65534, 65534)

_PR_SET_NO_NEW_PRIVS = 38


def successor(user: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the user and group ids that :func:`drop_root` gives; None if this is not root."""
    if os.geteuid() != 0:
        return None
    return user if user and user[0] != 0 else NOBODY


def make_directory(place: Path, owner: tuple[int, int]) -> None:
    """As root, make a directory for its owner alone; one that is there stays as it is.

    Raises:
        UsageError: it cannot be made.
    """
    if place.is_dir():
        return
    try:
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.mkdir(mode=0o700)
        os.chown(place, *owner)
    except OSError as error:
        raise UsageError(f"cannot make {place}: {error.strerror}") from None


def drop_root(user: tuple[int, int] | None) -> str:
    """Become ``user`` (user id, group id), or nobody where that is None or root itself.

    All capabilities go with root; programs that this thread, or one started later, may run cannot
    win it back by set-user-id. Open sockets stay. Returns what was done, for the log; empty if the
    process is not root.

    Raises:
        CaptureError: root cannot be given up; to go on with it would be unsafe.
    """
    chosen = successor(user)
    if chosen is None:
        return ""
    uid, gid = chosen
    try:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise CaptureError(
            f"cannot give root up for user {uid}: {error.strerror}; "
            "run as another user, with CAP_NET_RAW alone"
        ) from None
    _forbid_new_privileges()
    _verify(uid, gid)
    return f"gave up root, now user {uid} and group {gid}"


def _forbid_new_privileges() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise CaptureError(f"cannot forbid new privileges: {os.strerror(ctypes.get_errno())}")


def _verify(uid: int, gid: int) -> None:
    with contextlib.suppress(PermissionError):
        os.setresuid(0, 0, 0)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid) or os.getgroups():
        raise CaptureError("root was given up and could be taken back")
