"""Every option: its flag, its environment variable, its default and its rule.

This is the only module that reads the environment. A flag wins over its variable, the variable
over the default; a bad value is a :class:`UsageError` that names where it came from, the value
and the rule. The results are frozen dataclasses: what runs cannot be changed from under it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from network_pipeline import rules
from network_pipeline.errors import UsageError

DEFAULT_REDIS_URL = "redis://localhost:6379/15"
DEFAULT_RABBITMQ_URL = "amqp://guest:guest@localhost:5672//"

DEFAULT_FILTERS = {
    "tcp": "tcp and (port 80 or port 443 or port 8080 or port 8443)",
    "udp": "udp",
    "arp": "arp",
    "icmp": "icmp or icmp6",
    "ssh": "tcp port 22",
    "telnet": "tcp port 23",
}

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
           "message broker: redis://, rediss://, redis+socket://, amqp:// or amqps://; keep "
           "passwords in the variable, flags are seen in the process list", "URL", secret=True),
    Option("ssl_options", "FORWARD_SSL_OPTIONS", "{}", rules.json_object,
           "TLS options for rediss:// and amqps://: ca_certs, certfile, keyfile, "
           "server_hostname", "JSON", secret=True),
    Option("queue", "FORWARD_QUEUE", "NEW_PACKETS", rules.word, "queue of packets", "NAME"),
    Option("exchange", "FORWARD_EXCHANGE", "", rules.optional_word,
           "exchange to publish to", "NAME", shown="the default exchange"),
    Option("routing_key", "FORWARD_ROUTING_KEY", "", rules.optional_word,
           "routing key to publish with", "KEY", shown="the queue's name"),
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
    Option("engine", "CAPTURE_ENGINE", "scapy", rules.one_of("scapy", "columnar"),
           "what decodes: scapy, a JSON message for every packet; or columnar, many packets in "
           "an Arrow message, for busy devices", "NAME"),
    COMPRESSION_OPTION,
    SOURCE_OPTION,
    STOP_OPTION,
)  # fmt: skip

DATASET_OPTIONS = (
    Option("name", "DS_NAME", "netdata", rules.word, "first part of the dataset's name", "NAME"),
    Option("dir", "DS_DIR", "/tmp", Path, "directory of the dataset", "DIR"),
    Option("output", "OUTPUT_CSV", "", rules.text_value,
           "the whole path; wins over --name and --dir", "FILE",
           shown="DIR/NAME-YYYY-mm-dd-HH-MM-SS.csv"),
)  # fmt: skip

PROCESSOR_OPTIONS = (
    Option("save_after_num", "SAVE_AFTER_NUM", "100", rules.whole_number(1),
           "append a snapshot to the CSV after this many packets"),
    Option("save_after_seconds", "SAVE_AFTER_SECONDS", "5", rules.number(0.1),
           "and after this long for those that wait", "SECONDS"),
    STOP_OPTION,
    *DATASET_OPTIONS,
    Option("rotate_after_rows", "ROTATE_AFTER_ROWS", "0", rules.whole_number(0),
           "close the CSV after this many rows and begin the next, 0: never"),
    Option("rotate_after_seconds", "ROTATE_AFTER_SECONDS", "0", rules.number(0),
           "close the CSV after this long and begin the next, 0: never", "SECONDS"),
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

    @property
    def is_redis(self) -> bool:
        """Whether the broker speaks Redis' protocol."""
        return urlsplit(self.url).scheme.startswith("redis")

    @property
    def is_amqp(self) -> bool:
        """Whether the broker speaks AMQP 0-9-1."""
        return urlsplit(self.url).scheme.startswith("amqp")

    @property
    def uses_tls(self) -> bool:
        """Whether the URL asks for TLS."""
        return urlsplit(self.url).scheme in ("rediss", "amqps")

    @property
    def rejected_queue(self) -> str:
        """The queue for messages that cannot become rows."""
        return f"{self.queue}.rejected"

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
class CaptureSettings:
    """What to capture, and where."""

    devices: tuple[str, ...]
    filter: str
    source: str
    stop_after_num: int = 0
    engine: str = "scapy"
    compression: Compression = "lz4"


@dataclass(frozen=True)
class ProcessorSettings:
    """When to write rows, and where."""

    save_after_num: int = 100
    save_after_seconds: float = 5.0
    stop_after_num: int = 0
    name: str = "netdata"
    dir: Path = Path("/tmp")
    output: Path | None = None
    rotate_after_rows: int = 0
    rotate_after_seconds: float = 0.0


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


def processor_settings(values: Mapping[str, Any]) -> ProcessorSettings:
    """Build from the parsed values of ``PROCESSOR_OPTIONS``."""
    names = ("save_after_num", "save_after_seconds", "stop_after_num", "name", "dir",
             "rotate_after_rows", "rotate_after_seconds")  # fmt: skip
    output = Path(values["output"]) if values["output"] else None
    return ProcessorSettings(**{name: values[name] for name in names}, output=output)


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


def state_dir(variables: Mapping[str, str]) -> Path:
    """Return the user's directory for what must outlive a process (XDG base directories)."""
    base = variables.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "network-pipeline"
