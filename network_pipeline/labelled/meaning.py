"""Which column holds what, in datasets of packets and of flows alike.

Rules, alerts and splits ask for a row's source address or its time, never for ``ip_src``: one table
says which columns may hold it. The first of them that a row has a value in is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from network_pipeline.flows.schema import FLOW_COLUMNS
from network_pipeline.schema import ROLES

if TYPE_CHECKING:
    import polars as pl

#: The columns of packets (as :mod:`network_pipeline.schema` has them), then those of flows.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "src": ("ip_src", "ipv6_src", "arp_psrc", "src_ip"),
    "dst": ("ip_dst", "ipv6_dst", "arp_pdst", "dst_ip"),
    "sport": ("tcp_sport", "udp_sport", "src_port"),
    "dport": ("tcp_dport", "udp_dport", "dst_port"),
    "protocol": ("ip_proto", "ipv6_proto", "protocol"),
    "start": ("frame_time", "start_time"),
    "end": ("frame_time", "end_time"),
}

#: IP protocol numbers by name (IANA). ARP has none: a number that no header can hold stands for it.
PROTOCOLS: Mapping[str, int] = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "sctp": 132,
    "arp": 256,
}

#: Where a row has no number or time.
NONE = -1
NO_TIME = -(2**63)

#: Parquet files of flows say their roles themselves; CSV cannot.
_FLOW_ROLES = {column.name: column.role for column in FLOW_COLUMNS}
#: What names the flow of a row, in packets as well.
_IDENTITY = frozenset(("flow_id", "community_id"))


def value(name: str, present: Collection[str]) -> pl.Expr:
    """Return an expression for a meaning of :data:`COLUMNS`; null where no column holds it.

    Addresses are text, ports and protocols numbers (:data:`PROTOCOLS`), times nanoseconds since the
    epoch.
    """
    import polars as pl  # noqa: PLC0415  slow to import

    columns = [pl.col(each) for each in COLUMNS[name] if each in present]
    if name in ("start", "end"):
        columns = [each.cast(pl.Datetime("ns")).cast(pl.Int64) for each in columns]
    elif name not in ("src", "dst"):
        columns = [each.cast(pl.Int32) for each in columns]
    if name == "protocol" and "arp_op" in present:
        columns.append(pl.when(pl.col("arp_op").is_not_null()).then(PROTOCOLS["arp"]))
    return pl.coalesce(columns) if columns else pl.lit(None)


def role(name: str, kind: str) -> str:
    """Return the role of a column of ``packets`` or ``flows`` whose dataset does not say it."""
    known: Mapping[str, str] = ROLES if kind == "packets" else _FLOW_ROLES
    return known.get(name, "identity" if name in _IDENTITY else "feature")


def connection(present: Collection[str]) -> pl.Expr:
    """Return an expression for what both directions of a connection share, in all captures of it.

    Fragments behind the first have no ports: their pair of hosts stands for them. Rows without
    addresses have null.
    """
    import polars as pl  # noqa: PLC0415

    ends = [
        pl.concat_str(
            value(address, present),
            value(port, present).cast(pl.String).fill_null(""),
            separator=" ",
        )
        for address, port in (("src", "sport"), ("dst", "dport"))
    ]
    protocol = value("protocol", present).cast(pl.String).fill_null("")
    return pl.concat_str(pl.min_horizontal(ends), pl.max_horizontal(ends), protocol, separator="|")


def pair(present: Collection[str]) -> pl.Expr:
    """Return an expression for the two hosts of a row, in either direction; null without them."""
    import polars as pl  # noqa: PLC0415

    hosts = [value("src", present), value("dst", present)]
    return pl.concat_str(pl.min_horizontal(hosts), pl.max_horizontal(hosts), separator="|")
