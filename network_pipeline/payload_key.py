"""The secret with which payloads become digests, in a file that only its owner reads.

With one key the same payload has the same digest in every dataset, so that rows can be compared
over files and days; without the key nobody can try out what a digest was made of. The key of the
user's own place is made when it is first needed. One that was named must be there: a typing error
must not make digests that match nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from network_pipeline.errors import UsageError

#: Bytes of a new key, and of what is taken for one (RFC 7693: 64 at most).
KEY_BYTES = 32
_LEAST_BYTES = 16
_MOST_BYTES = 64

_FORBIDDEN_MODE = stat.S_IWGRP | stat.S_IRWXO
_NAME_BYTES = 4

_log = logging.getLogger(__name__)


def load(path: Path, kind: str = "payload key") -> bytes:
    """Return the key in a file, all of its bytes; errors call it by its ``kind``.

    Raises:
        UsageError: it cannot be read, others can read or change it, or it is too short or too long.
    """
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise UsageError(f"{kind} {path}: not a regular file")
            if about.st_mode & _FORBIDDEN_MODE:
                raise UsageError(
                    f"{kind} {path}: other users can read or change it: chmod 600 {path}"
                )
            key = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{kind} {path}: {error.strerror}") from None
    if not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise UsageError(f"{kind} {path}: must have {_LEAST_BYTES} to {_MOST_BYTES} bytes")
    return key


def load_or_make(path: Path, kind: str = "payload key") -> bytes:
    """Return the key in a file, made before if there is none.

    Raises:
        UsageError: as :func:`load`, or it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path, kind)
    except OSError as error:
        raise UsageError(f"{kind} {path}: {error.strerror}") from None
    return load(path, kind)


def _make(path: Path, kind: str) -> None:
    """Make a key that appears whole; another process that is first has made the one to use."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
            _log.warning("made the %s %s: keep it, digests of others do not match", kind, path)
    finally:
        os.unlink(name)


def name(key: bytes) -> str:
    """Return eight hex digits that tell keys apart and say nothing about them."""
    return hashlib.blake2b(key=key, digest_size=_NAME_BYTES, person=b"name of a key").hexdigest()
