"""CSVs that the original network-pipeline recorded, as rows of this one.

Its converter wrote several fields of a header over one another, so columns of it hold other values
than their names say: those are left out, each with its reason in :data:`WRONG`. What it had no
value for was filled with -1, which no column that is taken can hold; such cells are absent here.

Its rows say neither when nor in which order of capture they were: the file is the session, the
line the frame's number, and there is no time. Labels that people gave to whole files are kept in
``label_name``, for rules to go by.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from network_pipeline.capture.raw_file import file_session
from network_pipeline.schema import COLUMNS, INTEGER_LIMITS

LABEL = "label_name"
SOURCE = "antinex"

_SAME = (
    "eth_dst", "eth_src", "eth_type", "arp_hwtype", "arp_ptype", "arp_hwlen", "arp_plen", "arp_op",
    "arp_hwsrc", "arp_psrc", "arp_hwdst", "arp_pdst", "ip_version", "ip_ihl", "ip_tos", "ip_src",
    "ip_dst", "ipv6_version", "ipv6_tc", "ipv6_fl", "ipv6_plen", "ipv6_nh", "ipv6_hlim",
    "ipv6_src", "ipv6_dst", "icmp_type", "icmp_seq", "tcp_sport", "tcp_dport", "udp_sport",
    "udp_dport",
)  # fmt: skip

#: Columns that hold what their names say, by ours. The later of several stands in for the first.
TAKEN: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in _SAME},
    "tcp_options_mss": ("tcp_fields_options.MSS",),
    "tcp_options_wscale": ("tcp_fields_options.WScale",),
    "tcp_options_tsval": ("tcp_fields_options.Timestamp",),
    "raw_load": ("raw_load", "raw_hex_field_load"),
}

_OVER = "the converter wrote later fields of the header over it, the checksum last"
_OWN = "an id of the recorder, not the header's"

#: Columns that hold something else, and why.
WRONG: Mapping[str, str] = {
    "ip_len": _OVER,
    "tcp_seq": _OVER,
    "udp_len": _OVER,
    "icmp_code": _OVER,
    "tcp_fields_options.SAckOK": "empty where the option was there",
    "tcp_fields_options.NOP": "empty where the option was there",
    **{f"{layer}_id": _OWN for layer in ("arp", "dns", "eth", "icmp", "ip", "pad", "raw")},
    **{f"{layer}_id": _OWN for layer in ("ipv6", "ipvsix", "tcp", "udp")},
    **dict.fromkeys(("pad_load", "pad_hex_field_load"), "hex digits that were read as a number"),
    "idx": "the line's number",
    "src_file": "the number of a file that is not named",
    "label_value": "label_name as a number",
}
_DEFAULTS = "scapy's defaults for a layer, not a packet's values"
_UNKNOWN = "not known"

_TYPES: dict[str, Any] = {
    "uint8": pl.UInt8,
    "uint16": pl.UInt16,
    "uint32": pl.UInt32,
    "uint64": pl.UInt64,
    "hex": pl.Binary,
    "timestamp[ns, UTC]": pl.Datetime("ns", "UTC"),
}
_NOTHING = ("", "-1", "-1.0", "nan", "NaN")


def read(path: Path) -> tuple[pl.LazyFrame, list[str]]:
    """Return the rows of a file, with all columns and :data:`LABEL`, and notes on what is not in.

    Raises:
        UsageError: the file cannot be read.
        PolarsError: it is not such a file.
    """
    session = file_session(path)
    found = pl.read_csv(path, n_rows=0).columns
    rows = pl.scan_csv(path, infer_schema=False, null_values=list(_NOTHING))
    numbered = rows.with_row_index("@line", 1)
    known = {
        "source": pl.lit(SOURCE),
        "session": pl.lit(session),
        "frame_number": pl.col("@line").cast(pl.UInt64),
        "raw_len": (_taken("raw_load", found).str.len_bytes() // 2).cast(pl.UInt32),
    }
    columns = [
        (known[c.name] if c.name in known else _column(c.name, c.type, found)).alias(c.name)
        for c in COLUMNS
    ]
    label = pl.col(LABEL) if LABEL in found else pl.lit(None, pl.String)
    return numbered.select(*columns, label.alias(LABEL)), _notes(found)


def _taken(name: str, found: Collection[str]) -> pl.Expr:
    columns = [pl.col(each) for each in TAKEN.get(name, ()) if each in found]
    return pl.coalesce(columns) if columns else pl.lit(None, pl.String)


def _column(name: str, kind: str, found: Collection[str]) -> pl.Expr:
    text = _taken(name, found)
    if kind == "hex":
        return text.str.decode("hex", strict=False)  # digits alone became a float on the way
    if kind in INTEGER_LIMITS:
        return text.cast(pl.Float64).cast(_TYPES[kind])  # pandas wrote 65495.0
    return text.cast(_TYPES.get(kind, pl.String))


def _notes(found: Collection[str]) -> list[str]:
    taken = {LABEL, *(each for names in TAKEN.values() for each in names)}
    left: dict[str, list[str]] = {}
    for name in found:
        if name not in taken:
            reason = WRONG.get(name) or (_DEFAULTS if "_default_" in name else _UNKNOWN)
            left.setdefault(reason, []).append(name)
    return [f"left out, {reason}: {', '.join(names)}" for reason, names in left.items()]
