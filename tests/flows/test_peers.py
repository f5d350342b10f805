"""Flows beside those of tshark and NFStream, on every shared capture.

Compared are the packets that two ends exchanged by TCP and UDP in a whole capture, since programs
differ in when a flow ends. Where they are not the same, the reason is one of these, by capture.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests import needs
from tests.flows import making, test_oracle

#: Both ends, lesser first, and the protocol.
Talk = tuple[tuple[str, int], tuple[str, int], int]

#: A Python that has NFStream, which this package does not ask for.
_NFSTREAM_PYTHON = os.environ.get("NFSTREAM_PYTHON", "")

_TUNNEL = "it looks into tunnels, and at link types and headers that are not decoded here"
_FRAGMENTS = "of a datagram in fragments it counts the one that completes it"
_ROUTED = "it takes the last address of a routing header for the destination"
_CUT = "it tells ports of a header that is not wholly there"
_MALFORMED = "it gives up a segment with a malformed option"
_LINKS = "it reads the frames of the first interface only, or of no other link type than its"

TSHARK_DIFFERS = {
    "bundle-pcpp-packets.pcap": (_TUNNEL, _FRAGMENTS, _CUT),
    "bundle-suricata-decode.pcap": (_TUNNEL, _CUT),
    "bundle-tcpdump-ethernet.pcap": (_TUNNEL, _ROUTED, _CUT),
    "bundle-tcpdump-other-links.pcapng": (_TUNNEL,),
    "bundle-zeek-icmp-chksums.pcap": (_TUNNEL, _ROUTED, _FRAGMENTS),
    "fmt-pcapng-be-options-mixed.pcapng": (_TUNNEL,),
    "fmt-pcapng-le-sections.pcapng": (_TUNNEL,),
    "ipv4-fragments.pcap": (_FRAGMENTS,),
    "ipv6-ext-headers.pcapng": (_ROUTED,),
    "link-nflog.pcap": (_TUNNEL,),
    "link-radiotap.pcap": (_TUNNEL,),
    "link-raw-tcpopt-empty-sack.pcap": (_MALFORMED,),
    "tun-6in4.pcap": (_TUNNEL,),
    "tun-gre.pcapng": (_TUNNEL,),
    "tun-pppoe.pcap": (_TUNNEL,),
    "tun-vlan-mpls.pcap": (_TUNNEL,),
    "tun-vxlan.pcap": (_TUNNEL,),
}
NFSTREAM_DIFFERS = {
    "bundle-pcpp-packets.pcap": (_TUNNEL, _FRAGMENTS, _CUT),
    "bundle-tcpdump-ethernet.pcap": (_TUNNEL, _CUT),
    "bundle-tcpdump-other-links.pcapng": (_LINKS,),
    "bundle-zeek-icmp-chksums.pcap": (_TUNNEL,),
    "fmt-cut-bad-caplen.pcap": ("it goes on behind the damage",),
    "fmt-pcapng-be-options-mixed.pcapng": (_LINKS,),
    "fmt-pcapng-gzip.pcapng.gz": ("it reads no compressed files",),
    "fmt-pcapng-le-sections.pcapng": (_LINKS,),
    "fmt-pcapng-many-interfaces.pcapng": (_LINKS,),
    "ipv4-fragments.pcap": (_FRAGMENTS,),
    "link-radiotap.pcap": (_TUNNEL,),
    "link-sll2.pcap": (_LINKS,),
    "tun-6in4.pcap": (_TUNNEL,),
    "tun-pppoe.pcap": (_TUNNEL,),
    "tun-vlan-mpls.pcap": (_TUNNEL,),
}

_NFSTREAM = """
import json, sys
from nfstream import NFStreamer
print(json.dumps([
    [flow.src_ip, flow.src_port, flow.dst_ip, flow.dst_port, flow.protocol,
     flow.bidirectional_packets]
    for flow in NFStreamer(source=sys.argv[1], n_meters=1, n_dissections=0)
]))
"""


def _talk(src: tuple[str, int], dst: tuple[str, int], protocol: int) -> Talk:
    low, high = sorted((src, dst))
    return low, high, protocol


def own(path: Path) -> Counter[Talk]:
    rows = test_oracle.rows_of_capture(path)
    packets: Counter[Talk] = Counter()
    for flow in making.flows_of_rows(rows).flows if rows else []:
        if flow["protocol"] in (6, 17) and flow["src_port"] is not None:
            src, dst = (flow["src_ip"], flow["src_port"]), (flow["dst_ip"], flow["dst_port"])
            packets[_talk(src, dst, flow["protocol"])] += flow["packets_fwd"] + flow["packets_bwd"]
    return packets


def by_tshark(path: Path) -> Counter[Talk]:
    command = ["tshark", "-n", "-r", str(path), "-q", "-z", "conv,tcp", "-z", "conv,udp"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
    packets: Counter[Talk] = Counter()
    protocol = 0
    for line in told.splitlines():
        if line.endswith("Conversations"):
            protocol = {"TCP": 6, "UDP": 17}[line[:3]]
        row = re.match(r"(\S+):(\d+)\s+<-> (\S+):(\d+)\s", line)
        if row:
            # Frames and bytes with their unit: from the server, from the client, of both.
            frames = [
                int(number) for number, _ in re.findall(r"(\d+) (\d+ \S+)", line[row.end() :])
            ]
            src, dst = (row[1], int(row[2])), (row[3], int(row[4]))
            packets[_talk(src, dst, protocol)] += frames[2]
    return packets


def by_nfstream(path: Path) -> Counter[Talk]:
    command = [_NFSTREAM_PYTHON, "-c", _NFSTREAM, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    packets: Counter[Talk] = Counter()
    for src, sport, dst, dport, protocol, count in json.loads(
        (done.stdout or "[]").split("\n")[-2]
    ):
        if protocol in (6, 17) and (sport or dport):
            packets[_talk((src, sport), (dst, dport), protocol)] += count
    return packets


@pytest.mark.parametrize("path", test_oracle.shared(), ids=lambda path: path.name)
def test_tshark(path: Path) -> None:
    needs.program("tshark")
    assert (own(path) == by_tshark(path)) is (path.name not in TSHARK_DIFFERS)


@pytest.mark.skipif(not _NFSTREAM_PYTHON, reason="NFSTREAM_PYTHON names no Python that has it")
@pytest.mark.parametrize("path", test_oracle.shared(), ids=lambda path: path.name)
def test_nfstream(path: Path) -> None:
    is_same = path.suffix != ".gz" and own(path) == by_nfstream(path)
    assert is_same is (path.name not in NFSTREAM_DIFFERS)
