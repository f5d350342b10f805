"""Options: each one's flag, its environment variable, its default and its rule.

A flag wins over its variable, the variable over the default; a bad value is a :class:`UsageError`
that names where it came from, the value and the rule. Options of one command alone stand beside it
in ``scripts``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    Option("ring_block_bytes", "RING_BLOCK_BYTES", "1048576", rules.page_multiple,
           "of the ring engine: bytes of a block, which is given over when it is full"),
    Option("ring_blocks", "RING_BLOCKS", "32", rules.whole_number(2),
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
