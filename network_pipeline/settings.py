"""What commands are told, as frozen dataclasses: what runs cannot be changed from under it.

This is the only module that reads the environment. The values are those of :mod:`.options`.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from network_pipeline import rules
from network_pipeline.errors import UsageError
from network_pipeline.options import DEFAULT_REDIS_URL

#: Where agents keep what must outlive them if they run as nobody.
SYSTEM_STATE_DIR = Path("/var/lib/network-pipeline")

#: At most so much of a ring's block is headers where it holds a single packet.
_BLOCK_OVERHEAD_BYTES = 256

#: Rows and seconds of a Parquet file, where nothing is said about them. Longer than the last no
#: packet waits for a file: RabbitMQ takes back after 30 minutes what is not acknowledged.
_PARQUET_ROWS = 1_000_000
_PARQUET_SECONDS = 60.0
_MOST_PARQUET_SECONDS = 1200.0

#: Tells a worker of a processor whose it is.
_WORKER_OF = "NETWORK_PIPELINE_WORKER_OF"
#: And how many had its place that died.
_RESTARTS = "NETWORK_PIPELINE_WORKER_RESTARTS"

#: How the bodies of Arrow messages are compressed.
Compression = Literal["lz4", "zstd", "none"]


def environment() -> Mapping[str, str]:
    """Return the environment that defaults are taken from."""
    return os.environ


def keep_freed_memory() -> None:
    """Let pyarrow keep memory for a second that batches give back: the next ones ask for as much.

    Its allocator, mimalloc, returns it to the system after 10 ms, and the system clears it: that
    takes an eighth of the time of decoding. To be called before pyarrow is imported; a variable
    that is set wins.
    """
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")  # ms


def keep_algebra_in_one_thread() -> None:
    """Let NumPy's library for linear algebra, OpenBLAS, start no threads as it is imported.

    Nothing here needs it, and a thread keeps the capabilities that its process gives up later. To
    be called before numpy is imported; a variable that is set wins.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@dataclass(frozen=True)
class BrokerSettings:
    """Where messages go: a URL, a queue, and the exchange and routing key that lead to it."""

    url: str = DEFAULT_REDIS_URL
    queue: str = "NEW_PACKETS"
    exchange: str = ""
    routing_key: str = ""
    ssl_options: Mapping[str, Any] = field(default_factory=dict)
    key_prefix: str = ""
    wait_replicas: int = 0

    @property
    def is_redis(self) -> bool:
        """Whether the broker speaks Redis' protocol."""
        return urlsplit(self.url).scheme.startswith("redis")

    @property
    def is_amqp(self) -> bool:
        """Whether the broker speaks AMQP 0-9-1."""
        return urlsplit(self.url).scheme.startswith("amqp")

    @property
    def is_memory(self) -> bool:
        """Whether the broker is in this process."""
        return urlsplit(self.url).scheme == "memory"

    @property
    def uses_tls(self) -> bool:
        """Whether the URL asks for TLS."""
        return urlsplit(self.url).scheme.startswith(("rediss", "amqps"))

    @property
    def is_sentinel(self) -> bool:
        """Whether the URL names Sentinels, which know where the Redis is."""
        return urlsplit(self.url).scheme.endswith("+sentinel")

    @property
    def is_cluster(self) -> bool:
        """Whether the URL names nodes of a Redis Cluster, which know whose the queue is."""
        return urlsplit(self.url).scheme.endswith("+cluster")

    @property
    def rejected_queue(self) -> str:
        """The queue for messages that cannot become rows."""
        return f"{self.queue}.rejected"

    @property
    def destination(self) -> str:
        """A short name for where messages go; a new password goes to the same place."""
        parts = (self.safe_url, self.key_prefix, self.queue, self.exchange, self.routing_key)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    @property
    def safe_url(self) -> str:
        """The URL without its password and its query, for logs and errors."""
        return ";".join(_without_secrets(part) for part in self.url.split(";"))

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Host and port of every broker in the URL; none for a unix socket."""
        parts = [urlsplit(part) for part in self.url.split(";")]
        return tuple(
            (part.hostname, part.port or rules.DEFAULT_PORTS[part.scheme])
            for part in parts
            if part.hostname and part.scheme in rules.DEFAULT_PORTS
        )


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    user, at, address = parts.netloc.rpartition("@")
    if at:
        user = user.partition(":")[0]
        address = f"{user}:***@{address}"
    return urlunsplit((parts.scheme, address, parts.path, "", ""))


@dataclass(frozen=True)
class PublisherSettings:
    """What happens to messages that the broker does not take at once.

    ``spool_dir`` is None for the user's own, which whoever knows the user fills in; 0 is no spool
    where it is ``spool_max_bytes``, and no limit where it is a limit of the queue.
    """

    spool_dir: Path | None = None
    spool_max_bytes: int = 0
    spool_keep: str = "oldest"
    queue_max_messages: int = 0
    queue_max_bytes: int = 0

    @property
    def has_spool(self) -> bool:
        """Whether messages may wait on disk, in a place that is known."""
        return self.spool_dir is not None and self.spool_max_bytes > 0


@dataclass(frozen=True)
class CaptureSettings:
    """What to capture, and where."""

    devices: tuple[str, ...]
    filter: str
    source: str
    stop_after_num: int = 0
    engine: str = "scapy"
    compression: Compression = "lz4"


@dataclass(frozen=True)
class RingSettings:
    """The memory shared with the kernel, for each worker and device, and what comes into it.

    One flow in ``sample`` is kept.
    """

    block_bytes: int = 1_048_576
    blocks: int = 32
    retire_ms: int = 200
    snap_bytes: int = 524_288
    promiscuous: bool = True
    hardware_times: bool = False
    sample: int = 1

    @property
    def bytes(self) -> int:
        """The size of one ring."""
        return self.block_bytes * self.blocks


@dataclass(frozen=True)
class Payload:
    """What rows keep of payloads: so many bytes, None for all; with a key, digests of them."""

    most_bytes: int | None = None
    key: bytes | None = None


@dataclass(frozen=True)
class AgentSettings:
    """What the workers of an agent capture, and what they make of it.

    ``filter_file`` wins over ``filter``, that over ``protocols``.
    """

    devices: tuple[str, ...]
    workers: int
    source: str
    ring: RingSettings
    protocols: str = ""
    filter: str = ""
    filter_file: Path | None = None
    compression: Compression = "lz4"
    payload: Payload = field(default_factory=Payload)

    def filter_text(self) -> str:
        """Return the filter as it is now.

        Raises:
            UsageError: its file cannot be read.
        """
        if self.filter_file is None:
            return self.filter or self.protocols
        try:
            return self.filter_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"--filter-file={self.filter_file}: {reason}") from None


@dataclass(frozen=True)
class ProcessorSettings:
    """When to write rows, and where.

    A file of Parquet cannot grow: each is one snapshot, which is due when the next file would be.
    ``crew`` is the name that processors of one queue share, whose files are named CREW-1, CREW-2…
    """

    save_after_num: int = 100
    save_after_seconds: float = 5.0
    stop_after_num: int = 0
    name: str = "netdata"
    dir: Path = Path("/tmp")
    output: Path | None = None
    rotate_after_rows: int = 0
    rotate_after_seconds: float = 0.0
    crew: str = ""

    def of_worker(self, number: int) -> ProcessorSettings:
        """Return those of the worker with this number, from 1: its files have it in their names."""
        crew = self.output.stem if self.output else self.name
        output = self.output.with_stem(f"{crew}-{number}") if self.output else None
        return replace(self, name=f"{self.name}-{number}", output=output, crew=crew)

    @property
    def is_parquet(self) -> bool:
        """Whether rows are written as Parquet, not as CSV."""
        return self.output is not None and self.output.suffix == ".parquet"

    @property
    def snapshot_rows(self) -> int:
        """How many frames make a snapshot due."""
        return self.rotate_after_rows or _PARQUET_ROWS if self.is_parquet else self.save_after_num

    @property
    def snapshot_seconds(self) -> float:
        """How long frames may wait for a snapshot."""
        if self.is_parquet:
            return self.rotate_after_seconds or _PARQUET_SECONDS
        return self.save_after_seconds


@dataclass(frozen=True)
class SplunkSettings:
    """Where logs go beside the console: Splunk's HTTP Event Collector."""

    address: str
    token: str
    user: str
    password: str
    api_address: str
    index: str
    sourcetype: str
    verify: bool


def broker_settings(values: Mapping[str, Any]) -> BrokerSettings:
    """Build from the parsed values of ``BROKER_OPTIONS``."""
    return BrokerSettings(
        url=values["broker"],
        queue=values["queue"],
        exchange=values["exchange"],
        routing_key=values["routing_key"],
        ssl_options=values["ssl_options"],
        key_prefix=values["key_prefix"],
        wait_replicas=values["wait_replicas"],
    )


def publisher_settings(values: Mapping[str, Any]) -> PublisherSettings:
    """Build from the parsed values of ``PUBLISHER_OPTIONS``."""
    return PublisherSettings(
        spool_dir=Path(values["spool_dir"]) if values["spool_dir"] else None,
        spool_max_bytes=values["spool_max_bytes"],
        spool_keep=values["spool_keep"],
        queue_max_messages=values["queue_max_messages"],
        queue_max_bytes=values["queue_max_bytes"],
    )


def capture_settings(values: Mapping[str, Any]) -> CaptureSettings:
    """Build from the parsed values of ``CAPTURE_OPTIONS``."""
    return CaptureSettings(
        devices=values["device"],
        filter=values["filter"],
        source=values["source"] or socket.gethostname(),
        stop_after_num=values["stop_after_num"],
        engine=values["engine"],
        compression=values["compression"],
    )


def ring_settings(values: Mapping[str, Any], rings: int) -> RingSettings:
    """Build from the parsed values of ``RING_OPTIONS`` the settings of so many rings.

    Raises:
        UsageError: a packet does not fit into a block, or the rings not into memory.
    """
    found = RingSettings(
        block_bytes=values["ring_block_bytes"],
        blocks=values["ring_blocks"],
        retire_ms=values["ring_retire_ms"],
        snap_bytes=values["snap_length"],
        promiscuous=values["promiscuous"] == "yes",
        hardware_times=values["time_stamps"] == "hardware",
        sample=values["sample"],
    )
    if found.snap_bytes + _BLOCK_OVERHEAD_BYTES > found.block_bytes:
        raise UsageError(
            f"--snap-length={found.snap_bytes}: a block of {found.block_bytes} bytes must hold one "
            f"packet and {_BLOCK_OVERHEAD_BYTES} bytes about it; lower it or raise "
            "--ring-block-bytes"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if rings * found.bytes > memory // 2:
        raise UsageError(
            f"--ring-blocks={found.blocks}: {rings} rings of {found.bytes:,} bytes must not take "
            f"more than half of this machine's memory, {memory:,} bytes"
        )
    return found


def agent_settings(values: Mapping[str, Any], payload_key: bytes | None) -> AgentSettings:
    """Build from the parsed values of ``AGENT_OPTIONS`` and those that captures share.

    Raises:
        UsageError: as :func:`ring_settings`.
    """
    names = values["device"]
    workers = values["workers"] or len(os.sched_getaffinity(0))
    return AgentSettings(
        devices=names,
        workers=workers,
        source=values["source"] or socket.gethostname(),
        ring=ring_settings(values, rings=workers * len(names)),
        protocols=values["protocols"],
        filter=values["filter"],
        filter_file=Path(values["filter_file"]) if values["filter_file"] else None,
        compression=values["compression"],
        payload=Payload(values["payload_bytes"], payload_key),
    )


def processor_settings(values: Mapping[str, Any]) -> ProcessorSettings:
    """Build from the parsed values of ``PROCESSOR_OPTIONS``.

    Raises:
        UsageError: packets would wait too long for a Parquet file.
    """
    names = ("save_after_num", "save_after_seconds", "stop_after_num", "name", "dir",
             "rotate_after_rows", "rotate_after_seconds")  # fmt: skip
    output = Path(values["output"]) if values["output"] else None
    found = ProcessorSettings(**{name: values[name] for name in names}, output=output)
    if found.is_parquet and found.rotate_after_seconds > _MOST_PARQUET_SECONDS:
        raise UsageError(
            f"--rotate-after-seconds={found.rotate_after_seconds:g}: at most "
            f"{_MOST_PARQUET_SECONDS:g} for Parquet, whose packets are not acknowledged before the "
            "file is complete"
        )
    return found


def worker_of(variables: Mapping[str, str]) -> tuple[int, str] | None:
    """Return the process whose worker this one is, and its crew's name; None for no worker."""
    pid, _, crew = variables.get(_WORKER_OF, "").partition("/")
    return (int(pid), crew) if pid.isdecimal() else None


def for_workers(variables: Mapping[str, str], crew: str) -> Mapping[str, str]:
    """Return the environment of this process' workers, for :func:`worker_of`."""
    return {**variables, _WORKER_OF: f"{os.getpid()}/{crew}"}


def with_restarts(variables: Mapping[str, str], count: int) -> Mapping[str, str]:
    """Return the environment of a worker behind so many that died, for :func:`restarts`."""
    return {**variables, _RESTARTS: str(count)}


def restarts(variables: Mapping[str, str]) -> int:
    """Return how many workers died that had this process' place; 0 where it is no worker."""
    return int(variables.get(_RESTARTS, "0")) if worker_of(variables) else 0


def splunk_settings(variables: Mapping[str, str]) -> SplunkSettings | None:
    """Build from ``SPLUNK_*``; None where they name no token and no user with a password."""
    get = variables.get
    if not get("SPLUNK_TOKEN") and not (get("SPLUNK_USER") and get("SPLUNK_PASSWORD")):
        return None
    return SplunkSettings(
        address=get("SPLUNK_ADDRESS", "localhost:8088"),
        token=get("SPLUNK_TOKEN", ""),
        user=get("SPLUNK_USER", ""),
        password=get("SPLUNK_PASSWORD", ""),
        api_address=get("SPLUNK_API_ADDRESS", "localhost:8089"),
        index=get("SPLUNK_INDEX", ""),
        sourcetype=get("SPLUNK_SOURCETYPE", "json"),
        verify=get("SPLUNK_VERIFY", "1") != "0",
    )


def invoking_user(variables: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the user and group ids of who called sudo, None outside sudo."""
    uid, gid = variables.get("SUDO_UID", ""), variables.get("SUDO_GID", "")
    return (int(uid), int(gid)) if uid.isdecimal() and gid.isdecimal() else None


def spool_dir(variables: Mapping[str, str], user: tuple[int, int] | None) -> Path:
    """Return where messages wait on disk, unless the user names a place.

    ``user`` is who root was given up for, None where this was not root: sudo may keep HOME, or set
    it to root's, so then the home in the user database counts. Nobody has no home.
    """
    if user is None:
        return state_dir(variables) / "spool"
    try:
        home = Path(pwd.getpwuid(user[0]).pw_dir)
    except KeyError:
        home = Path("/nonexistent")
    if not home.is_dir():
        return SYSTEM_STATE_DIR / "spool"
    base = variables.get("XDG_STATE_HOME") or home / ".local" / "state"
    return Path(base) / "network-pipeline" / "spool"


def notify_socket(variables: Mapping[str, str]) -> str:
    """Return where systemd wants to be told how the service is doing, empty without systemd."""
    return variables.get("NOTIFY_SOCKET", "")


def state_dir(variables: Mapping[str, str]) -> Path:
    """Return the user's directory for what must outlive a process (XDG base directories).

    Raises:
        UsageError: there is no home: neither variable is set, and no such user is known.
    """
    try:
        base = variables.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:
        raise UsageError("no home directory is known: set HOME, or XDG_STATE_HOME") from None
    return Path(base) / "network-pipeline"
