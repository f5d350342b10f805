"""Files on this machine and elsewhere: paths, and URLs such as ``s3://bucket/day.pcap``.

fsspec reaches what is elsewhere, with the credentials that its packages find; it is imported for
names with a scheme only. A file from there is copied to a temporary directory and read like any
other, so memory is bounded and a connection that breaks gives no half of it. One that goes there is
complete before it leaves. Object stores show an upload as a whole; other places, such as HDFS, get
it under a hidden name first.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from network_pipeline.errors import DatasetError, UsageError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_PASSWORD = re.compile(r"://([^/@:]*):[^/@]*@")

#: What to install for a scheme, where it is an extra of this package.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hdfs": "hdfs"}
#: Where a file appears when all of it was sent.
_OBJECT_STORES = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss"))

#: Errors of packages below fsspec that are no OSError; those of packages that are not loaded
#: cannot be raised.
_BELOW = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("gcsfs.retry", "HttpError"),
)

#: Names that begin so are in the making, or no rows: Hive, Spark and Arrow pass them over too.
_PASSED_OVER = (".", "_")


def is_remote(name: str) -> bool:
    """Return whether a name is a URL."""
    return _SCHEME.match(name) is not None


def is_directory(name: str) -> bool:
    """Return whether a name is meant as a directory: it ends with a slash."""
    return name.endswith("/")


def directory(name: str) -> str:
    """Return the name of a directory as those of its files begin, which :func:`under` returns."""
    return name.rstrip("/") if is_remote(name) else str(Path(name))


def absolute(name: str) -> str:
    """Return a name that means the same to a process with another working directory."""
    if is_remote(name):
        return name
    return os.path.abspath(name) + ("/" if is_directory(name) else "")


def shown(name: str) -> str:
    """Return a name without the password that a URL may have."""
    return _PASSWORD.sub(r"://\1:***@", name)


def expand(names: Sequence[str], endings: Sequence[str]) -> list[str]:
    """Return the files that names stand for, in order, those of each sorted.

    A URL with ``*``, ``?`` or ``[...]`` stands for what fits it; a directory of this machine, or a
    URL that ends with a slash, for the files in it, at any depth, that end in ``endings``.

    Raises:
        UsageError: there is no such file, or it cannot be reached.
    """
    found: list[str] = []
    for name in names:
        if is_remote(name) and any(sign in name for sign in "*?["):
            matching = _remote_files(name, "glob")
            files = sorted(each for each in matching if not last(each).startswith("."))
        elif is_directory(name) or (not is_remote(name) and Path(name).is_dir()):
            files = [each for each in under(name) if each.endswith(tuple(endings))]
        else:
            files = [name]
        if not files:
            raise UsageError(f"{shown(name)}: there are no such files")
        found += files
    return found


def under(name: str, *, hidden: bool = False) -> list[str]:
    """Return the files in a directory, at any depth, sorted; hidden ones only if asked for.

    Raises:
        UsageError: it cannot be listed.
    """
    if is_remote(name):
        found = _remote_files(name.rstrip("/"), "find")
    else:
        found = [str(path) for path in Path(name).rglob("*") if path.is_file()]
    return sorted(each for each in found if hidden or not _is_passed_over(each, name))


def remove(name: str) -> None:
    """Remove a file, if it is there.

    Raises:
        DatasetError: it is still there.
    """
    with _errors_of(name, DatasetError):
        if not is_remote(name):
            Path(name).unlink(missing_ok=True)
            return
        system, place = _reached(name)
        system.rm_file(place)


def last(name: str) -> str:
    """Return the last part of a name: that of the file or directory."""
    return PurePosixPath(name).name


def sha256(path: Path) -> str:
    """Return the digest of a file of this machine, in hex.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None


@contextmanager
def fetched(name: str) -> Iterator[Path]:
    """Yield a path of this machine where the file can be read while the block runs.

    Raises:
        UsageError: there is no such file, or it cannot be reached.
    """
    if not is_remote(name):
        yield Path(name)
        return
    with tempfile.TemporaryDirectory(prefix="network-pipeline-") as directory:
        path = Path(directory) / last(name)
        with _errors_of(name):
            system, place = _reached(name)
            system.get_file(place, str(path))
        yield path


@contextmanager
def all_fetched(names: Sequence[str], endings: Sequence[str]) -> Iterator[list[str]]:
    """Yield the paths of the files that names stand for, readable while the block runs.

    Raises:
        UsageError: there is no such file, or it cannot be reached.
    """
    with ExitStack() as stack:
        yield [
            str(stack.enter_context(fetched(each))) if is_remote(each) else each
            for each in expand(names, endings)
        ]


@contextmanager
def written(name: str) -> Iterator[Path]:
    """Yield where to write a file that goes to ``name`` when the block ends without an error.

    Raises:
        DatasetError: it cannot be sent there, or its directory not be made.
    """
    if not is_remote(name):
        path = Path(name)
        with _errors_of(name, DatasetError):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="network-pipeline-") as directory:
        path = Path(directory) / last(name)
        yield path
        with _errors_of(name, DatasetError):
            _send(path, name)


def _send(path: Path, name: str) -> None:
    system, place = _reached(name)
    if _scheme(name) in _OBJECT_STORES:
        system.put_file(str(path), place)
        return
    directory, _, final = place.rpartition("/")
    hidden = f"{directory}/.{final}.{path.parent.name}.part"
    system.makedirs(directory, exist_ok=True)
    system.put_file(str(path), hidden)
    if system.exists(place):
        system.rm_file(place)  # HDFS does not rename over a file
    system.mv(hidden, place)


def _remote_files(name: str, how: str) -> list[str]:
    """Return the URLs of the files that ``find`` or ``glob`` of a file system gives."""
    with _errors_of(name):
        system, path = _reached(name)
        system.invalidate_cache()  # others write there too
        base = name.removesuffix(path)
        return [base + str(each) for each in getattr(system, how)(path)]


def _reached(name: str) -> tuple[Any, str]:
    """Return the file system of a URL, and what it calls the file."""
    from fsspec.core import url_to_fs  # noqa: PLC0415  an extra, and slow to import

    system, path = url_to_fs(name)
    return system, str(path)


def _scheme(name: str) -> str:
    found = _SCHEME.match(name)
    return found[1] if found else "file"


def _is_passed_over(name: str, root: str) -> bool:
    parts = name.removeprefix(root).strip("/").split("/")
    return any(part.startswith(_PASSED_OVER) for part in parts)


@contextmanager
def _errors_of(
    name: str, kind: type[UsageError] | type[DatasetError] = UsageError
) -> Iterator[None]:
    """Turn what goes wrong with a file into one line that names it."""
    try:
        yield
    except ImportError as error:
        extra = _EXTRAS.get(_scheme(name).lower())
        hint = f"pip install 'network-pipeline[{extra}]'" if extra else str(error)
        raise UsageError(f"{shown(name)}: a package is not installed: {hint}") from None
    except FileNotFoundError:
        what = "no such bucket or file" if is_remote(name) else "no such file"
        raise kind(f"{shown(name)}: {what}") from None
    except PermissionError as error:
        raise kind(f"{shown(name)}: no permission: {_reason(error)}") from None
    except _errors_below() as error:
        raise kind(f"{shown(name)}: {_reason(error)}") from None


def _errors_below() -> tuple[type[Exception], ...]:
    modules = [(sys.modules.get(module), name) for module, name in _BELOW]
    found = [getattr(module, name) for module, name in modules if hasattr(module, name)]
    return (OSError, ValueError, *found)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return shown(str(text).strip().partition("\n")[0])
