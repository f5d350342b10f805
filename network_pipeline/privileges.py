"""Gives root up for good, once what needs it is open.

The C library changes the user ids of all threads together, so it holds for threads that run
already. A process that does not run as root keeps what it has: it was given CAP_NET_RAW on purpose.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
from pathlib import Path

from network_pipeline.errors import CaptureError, UsageError

#: The user and the group that own nothing.
NOBODY = (65534, 65534)

# linux/prctl.h, linux/capability.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522


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


def drop_capabilities() -> int:
    """Give up all capabilities that this thread was given as another user than root.

    Threads that are started later, and children, have none either. Threads that run already keep
    theirs, such as those of NumPy's library for linear algebra; returns how many do.

    Raises:
        CaptureError: the kernel refuses.
    """
    _prctl("drop ambient capabilities", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("@Ii", _CAPABILITY_VERSION_3, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)) != 0:
        raise CaptureError(f"cannot drop capabilities: {os.strerror(ctypes.get_errno())}")
    _forbid_new_privileges()
    threads = [status.read_text() for status in Path("/proc/self/task").glob("*/status")]
    return sum(re.search(r"^CapPrm:\t0+$", text, re.MULTILINE) is None for text in threads)


def end_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent's thread ends.

    Raises:
        CaptureError: the kernel refuses.
    """
    _prctl("ask for a signal", _PR_SET_PDEATHSIG, number)


def _forbid_new_privileges() -> None:
    _prctl("forbid new privileges", _PR_SET_NO_NEW_PRIVS, 1)


def _prctl(what: str, option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise CaptureError(f"cannot {what}: {os.strerror(ctypes.get_errno())}")


def _verify(uid: int, gid: int) -> None:
    with contextlib.suppress(PermissionError):
        os.setresuid(0, 0, 0)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid) or os.getgroups():
        raise CaptureError("root was given up and could be taken back")
