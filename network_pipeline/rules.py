"""What values of options must look like: text to value, or ``ValueError`` with the rule."""

from __future__ import annotations

import json
import math
import mmap
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

#: Brokers by the scheme of their URL, with the port where it names none.
DEFAULT_PORTS = {
    "redis": 6379,
    "rediss": 6379,
    "redis+sentinel": 26379,
    "rediss+sentinel": 26379,
    "redis+cluster": 6379,
    "rediss+cluster": 6379,
    "amqp": 5672,
    "amqps": 5671,
}

#: Of a ring: more bytes at once are no batch any more.
_MOST_BLOCK_BYTES = 64 * 1024 * 1024

_PROTOCOLS = {"arp": "arp", "icmp": "icmp or icmp6", "tcp": "tcp", "udp": "udp"}

_SCHEMES = {*DEFAULT_PORTS, "redis+socket", "memory"}


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a rule for whole numbers from ``least`` to ``most``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or int(text) < least:
            raise ValueError(f"must be a whole number of at least {least}")
        if most is not None and int(text) > most:
            raise ValueError(f"must be a whole number of at most {most}")
        return int(text)

    return parse


def whole_number_or_all(text: str) -> int | None:
    """Parse a whole number of at least 0, or ``all``, which is None."""
    if text == "all":
        return None
    try:
        return whole_number(0)(text)
    except ValueError as error:
        raise ValueError(f"{error}, or all") from None


def page_multiple(text: str) -> int:
    """Parse a number of bytes that is a multiple of the size of a page of memory."""
    size = whole_number(1)(text)
    if size % mmap.PAGESIZE or size > _MOST_BLOCK_BYTES:
        raise ValueError(
            f"must be a multiple of the page size, {mmap.PAGESIZE}, of at most {_MOST_BLOCK_BYTES}"
        )
    return size


def one_in(text: str) -> int:
    """Parse ``1/N``, which is N."""
    if not re.fullmatch(r"1/[0-9]{1,9}", text) or int(text[2:]) == 0:
        raise ValueError("must be 1/N, such as 1/10")
    return int(text[2:])


def protocols(text: str) -> str:
    """Parse names of protocols, separated by commas, to the filter that chooses them."""
    names = dict.fromkeys(text.split(","))
    if not all(name in _PROTOCOLS for name in names):
        raise ValueError(f"must name protocols of {', '.join(_PROTOCOLS)}, separated by commas")
    return " or ".join(_PROTOCOLS[name] for name in names)


def number(least: float) -> Callable[[str], float]:
    """Return a rule for decimal numbers of at least ``least``."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text) or float(text) < least:
            raise ValueError(f"must be a number of at least {least:g}, such as {least + 0.5:g}")
        return float(text)

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Return a rule for one of some words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def speed(text: str) -> float:
    """Parse a multiple such as ``10x``, or ``max``, which is infinity."""
    if text == "max":
        return math.inf
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?x", text) or float(text[:-1]) == 0:
        raise ValueError("must be a multiple such as 1x, 10x or 0.5x, or max")
    return float(text[:-1])


def port(text: str) -> int:
    """Parse a TCP or UDP port."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("must be a port from 1 to 65535")
    return int(text)


def optional_port(text: str) -> int | None:
    """Parse a TCP or UDP port, None where the text is empty."""
    return port(text) if text else None


def word(text: str) -> str:
    """Parse a name that goes into messages and queue names: printable, no spaces, 1 to 200."""
    if not re.fullmatch(r"[!-~]{1,200}", text):
        raise ValueError("must be 1 to 200 printable ASCII characters without spaces")
    return text


def optional_word(text: str) -> str:
    """Parse a name that may be empty."""
    return word(text) if text else ""


def optional_scheduler(text: str) -> str:
    """Parse the address of a scheduler of dask, such as ``tcp://10.0.0.1:8786``; may be empty."""
    if text and not re.fullmatch(r"[a-z]+://[^/\s]+:[0-9]+/?", text):
        raise ValueError("must be an address such as tcp://HOST:PORT")
    return text


def shares(text: str) -> tuple[float, float, float]:
    """Parse shares such as ``0.7,0.15,0.15`` (training, validation, test; validation may be 0)."""
    rule = "must be three shares whose sum is 1, such as 0.7,0.15,0.15; only the second may be 0"
    try:
        train, validation, test = map(float, text.split(","))
    except ValueError:
        raise ValueError(rule) from None
    whole = abs(train + validation + test - 1) < 1e-9
    if not (whole and train > 0 and test > 0 and validation >= 0):
        raise ValueError(rule)
    return train, validation, test


def names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas; there may be none."""
    return tuple(dict.fromkeys(name for name in re.split(r"[,\s]+", text.strip()) if name))


def text_value(text: str) -> str:
    """Take any text as it is."""
    return text


def device_list(text: str) -> tuple[str, ...]:
    """Parse device names separated by commas or spaces."""
    names = tuple(dict.fromkeys(re.split(r"[,\s]+", text.strip())))
    if not all(re.fullmatch(r"[^\s/]{1,15}", name) for name in names):
        raise ValueError("must name devices of 1 to 15 characters, separated by commas")
    return names


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError('must be a JSON object, such as {"ca_certs": "/etc/ssl/ca.pem"}')
    return value


def broker_url(text: str) -> str:
    """Parse a broker's URL; several hosts may be separated by semicolons."""
    for part in text.split(";"):
        try:
            url = urlsplit(part)
            _ = url.port
        except ValueError:
            raise ValueError("must be a URL with a port from 1 to 65535") from None
        if url.scheme not in _SCHEMES:
            raise ValueError(
                "must begin with redis://, rediss://, redis+sentinel://, rediss+sentinel://, "
                "redis+cluster://, rediss+cluster://, redis+socket://, amqp:// or amqps://"
            )
        if url.scheme in DEFAULT_PORTS and not url.hostname:
            raise ValueError("must name a host, such as redis://localhost:6379/15")
    if len({urlsplit(part).scheme for part in text.split(";")}) > 1:
        raise ValueError("must name hosts of one kind")
    return text
