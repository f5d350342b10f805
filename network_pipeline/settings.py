"""Every option: its flag, its environment variable, its default and its rule.

This is the only module that reads the environment. A flag wins over its variable, the variable
over the default; a bad value is a :class:`UsageError` that names where it came from, the value
and the rule. The results are frozen dataclasses: what runs cannot be changed from under it.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from network_pipeline import rules
from network_pipeline.errors import UsageError

DEFAULT_REDIS_URL = "redis://localhost:6379/15"
DEFAULT_RABBITMQ_URL = "amqp://guest:guest@localhost:5672//"

#: Where agents keep what must outlive them if they run as nobody.
SYSTEM_STATE_DIR = Path("/var/lib/network-pipeline")

DEFAULT_FILTERS = {
    "tcp": "tcp and (port 80 or port 443 or port 8080 or port 8443)",
    "udp": "udp",
    "arp": "arp",
    "icmp": "icmp or icmp6",
    "ssh": "tcp port 22",
    "telnet": "tcp port 23",
}

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


# -- options ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """One option of a command.

    ``shown`` overrides how ``--help`` writes the default; a ``repeatable`` flag's values are joined
    by commas; the value of a ``secret`` one is never quoted in an error.
    """

    name: str
    variable: str
    default: str
    parse: Callable[[str], Any]
    help: str
    metavar: str = "N"
    repeatable: bool = False
    shown: str | None = None
    secret: bool = False

    @property
    def flag(self) -> str:
        """The flag, as in ``--save-after-num``."""
        return "--" + self.name.replace("_", "-")

    @property
    def described(self) -> str:
        """The text of ``--help``: what it is, its variable and its default."""
        default = self.shown or self.default
        return f"{self.help} [{self.variable}; default: {default}]"

    def value(self, given: str | None, variables: Mapping[str, str]) -> Any:
        """Return the parsed value: of the flag, else of the variable, else of the default.

        Raises:
            UsageError: it breaks the rule.
        """
        text, origin = self.default, f"the default of {self.flag}"
        if given is not None:
            text, origin = given, self.flag
        elif variables.get(self.variable, "") != "":
            text, origin = variables[self.variable], self.variable
        try:
            return self.parse(text)
        except ValueError as error:
            shown = "***" if self.secret else text
            raise UsageError(f"{origin}={shown}: {error}") from None


BROKER_OPTIONS = (
    Option("broker", "FORWARD_BROKER_URL", DEFAULT_REDIS_URL, rules.broker_url,
           "message broker: redis://, rediss://, redis+sentinel://, redis+cluster://, "
           "redis+socket://, amqp:// or amqps://; keep "
           "passwords in the variable, flags are seen in the process list", "URL", secret=True),
    Option("ssl_options", "FORWARD_SSL_OPTIONS", "{}", rules.json_object,
           "TLS options for rediss:// and amqps://: ca_certs, certfile, keyfile, "
           "server_hostname", "JSON", secret=True),
    Option("queue", "FORWARD_QUEUE", "NEW_PACKETS", rules.word, "queue of packets", "NAME"),
    Option("exchange", "FORWARD_EXCHANGE", "", rules.optional_word,
           "exchange to publish to", "NAME", shown="the default exchange"),
    Option("routing_key", "FORWARD_ROUTING_KEY", "", rules.optional_word,
           "routing key to publish with", "KEY", shown="the queue's name"),
    Option("key_prefix", "REDIS_KEY_PREFIX", "", rules.optional_word,
           "what the keys of all queues on Redis begin with", "TEXT", shown="nothing"),
    Option("wait_replicas", "REDIS_WAIT_REPLICAS", "0", rules.whole_number(0),
           "replicas of a Redis that must have a packet before it counts as published"),
)  # fmt: skip

PUBLISHER_OPTIONS = (
    Option("spool_dir", "SPOOL_DIR", "", rules.text_value,
           "where messages wait on disk while the broker is away, too slow or full", "DIR",
           shown="~/.local/state/network-pipeline/spool of the user it runs as; as nobody "
           "/var/lib/network-pipeline/spool"),
    Option("spool_max_bytes", "SPOOL_MAX_BYTES", "1073741824", rules.whole_number(0),
           "bytes that its files may have together, 0: no spool"),
    Option("spool_keep", "SPOOL_KEEP", "oldest", rules.one_of("oldest", "newest"),
           "which packets to keep when the spool is full; the others are shed and counted",
           "WHICH"),
    Option("queue_max_messages", "QUEUE_MAX_MESSAGES", "1000000", rules.whole_number(0),
           "spool instead of publishing while the queue holds so many messages, 0: no limit"),
    Option("queue_max_bytes", "QUEUE_MAX_BYTES", "1073741824", rules.whole_number(0),
           "and while it holds about so many bytes, 0: no limit"),
)  # fmt: skip

METRICS_OPTIONS = (
    Option("metrics_port", "METRICS_PORT", "", rules.optional_port,
           "serve /metrics for Prometheus and /healthz on this port", "N", shown="none"),
    Option("metrics_address", "METRICS_ADDRESS", "127.0.0.1", rules.word,
           "address to serve them on; 0.0.0.0 is all", "ADDRESS"),
)  # fmt: skip

STOP_OPTION = Option("stop_after_num", "STOP_AFTER_NUM", "0", rules.whole_number(0),
                     "stop after this many packets, 0: never")  # fmt: skip

SOURCE_OPTION = Option("source", "SOURCE_HOST", "", rules.optional_word,
                       "name of this agent in every row", "NAME",
                       shown="this host's name")  # fmt: skip

COMPRESSION_OPTION = Option("compression", "MESSAGE_COMPRESSION", "lz4",
                            rules.one_of("lz4", "zstd", "none"),
                            "of Arrow messages: lz4, zstd or none", "NAME")  # fmt: skip

# NETWORK_FILTER is not read: one that is set for captures would quietly thin out every file.
FILE_FILTER_OPTION = Option("filter", "PCAP_FILTER", "", rules.text_value,
                            "which frames of the files are taken, as tcpdump writes it (man "
                            "pcap-filter)", "BPF", shown="all frames")  # fmt: skip

CAPTURE_OPTIONS = (
    Option("device", "CAP_DEVICE", "lo", rules.device_list,
           "network device, 'any' for all; may be repeated", "NAME", repeatable=True),
    Option("filter", "NETWORK_FILTER", "", rules.text_value,
           "what to capture, as tcpdump writes it (man pcap-filter); the broker's own traffic is "
           "always left out", "BPF"),
    Option("engine", "CAPTURE_ENGINE", "scapy", rules.one_of("scapy", "columnar", "ring"),
           "what captures and decodes: scapy, a JSON message for every packet; columnar, many "
           "packets in an Arrow message; or ring, the same from memory shared with the kernel, "
           "for busy devices", "NAME"),
    COMPRESSION_OPTION,
    SOURCE_OPTION,
    STOP_OPTION,
)  # fmt: skip

RING_OPTIONS = (
    Option("ring_block_bytes", "RING_BLOCK_BYTES", "2097152", rules.page_multiple,
           "of the ring engine: bytes of a block, which is given over when it is full"),
    Option("ring_blocks", "RING_BLOCKS", "16", rules.whole_number(2),
           "blocks of each ring: so much can wait before the kernel drops packets"),
    Option("ring_retire_ms", "RING_RETIRE_MS", "200", rules.whole_number(1),
           "milliseconds after which a block is given over though it is not full"),
    Option("snap_length", "SNAP_LENGTH", "524288", rules.whole_number(64),
           "bytes of a packet that are captured by the ring engine; a block must hold so many"),
    Option("promiscuous", "PROMISCUOUS", "yes", rules.one_of("yes", "no"),
           "of the ring engine: whether to see packets for other hosts too", "yes|no"),
    Option("time_stamps", "TIME_STAMPS", "kernel", rules.one_of("kernel", "hardware"),
           "of the ring engine: hardware takes those of the network card, where it makes them "
           "(hwstamp_ctl, ptp4l)", "NAME"),
    Option("sample", "SAMPLE", "1/1", rules.one_in,
           "of the ring engine: 1/N keeps one flow in N with all its packets, and counts the "
           "others", "1/N"),
)  # fmt: skip

PAYLOAD_OPTIONS = (
    Option("payload", "PAYLOAD", "keep", rules.one_of("keep", "hash"),
           "keep payloads and padding as they are, or hash them: rows then hold keyed BLAKE2b-128 "
           "digests", "keep|hash"),
    Option("payload_bytes", "PAYLOAD_BYTES", "all", rules.whole_number_or_all,
           "bytes of payload that rows keep, or that are hashed, 0: none"),
    Option("payload_key_file", "PAYLOAD_KEY_FILE", "", rules.text_value,
           "file with the secret of the digests, 16 to 64 bytes that only you can read", "FILE",
           shown="payload.key in the state directory, made when it is first needed"),
)  # fmt: skip

AGENT_OPTIONS = (
    Option("protocols", "PROTOCOLS", "arp,icmp,tcp,udp", rules.protocols,
           "what to capture where no filter is given", "NAME,..."),
    Option("filter_file", "NETWORK_FILTER_FILE", "", rules.text_value,
           "file with the filter, read again on SIGHUP; wins over --filter", "FILE",
           shown="no file"),
    Option("workers", "WORKERS", "0", rules.whole_number(0),
           "processes that capture, each some flows", "N", shown="one for each core"),
)  # fmt: skip

DATASET_OPTIONS = (
    Option("name", "DS_NAME", "netdata", rules.word, "first part of the dataset's name", "NAME"),
    Option("dir", "DS_DIR", "/tmp", Path, "directory of the dataset", "DIR"),
    Option("output", "OUTPUT_CSV", "", rules.text_value,
           "the whole path; wins over --name and --dir", "FILE",
           shown="DIR/NAME-YYYY-mm-dd-HH-MM-SS.csv"),
)  # fmt: skip

CLUSTER_OPTION = Option("dask", "DASK_ADDRESS", "", rules.optional_scheduler,
                        "scheduler of a dask cluster whose workers do the work, an input each; "
                        "they read and write the same places as this command", "ADDRESS",
                        shown="the work is done here")  # fmt: skip

PROCESSOR_OPTIONS = (
    Option("save_after_num", "SAVE_AFTER_NUM", "100", rules.whole_number(1),
           "append a snapshot to the CSV after this many packets"),
    Option("save_after_seconds", "SAVE_AFTER_SECONDS", "5", rules.number(0.1),
           "and after this long for those that wait", "SECONDS"),
    STOP_OPTION,
    *DATASET_OPTIONS,
    Option("rotate_after_rows", "ROTATE_AFTER_ROWS", "0", rules.whole_number(0),
           "close the file after this many rows and begin the next, 0: a CSV never, Parquet after "
           "1,000,000"),
    Option("rotate_after_seconds", "ROTATE_AFTER_SECONDS", "0", rules.number(0),
           "close the file after this long and begin the next, 0: a CSV never, Parquet after 60",
           "SECONDS"),
    Option("workers", "PROCESSOR_WORKERS", "1", rules.whole_number(1),
           "processes that share the queue, each with files of its own: NAME-1, NAME-2, …; the "
           "first one's metrics are on the port that is given, the next one's on the next"),
)  # fmt: skip

LOG_OPTION = Option("log_config", "LOG_CFG", "", rules.text_value,
                    "logging configuration, a JSON file for logging.config.dictConfig", "FILE",
                    shown="the console, INFO and above")  # fmt: skip


# -- settings --------------------------------------------------------------------------------------


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

    block_bytes: int = 2_097_152
    blocks: int = 16
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
    """Return the user's directory for what must outlive a process (XDG base directories)."""
    base = variables.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "network-pipeline"
