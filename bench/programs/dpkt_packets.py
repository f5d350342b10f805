"""Dissect all frames of a capture with dpkt, TCP options and DNS included."""

import sys

import dpkt

frames = 0
with open(sys.argv[1], "rb") as file:
    for _, data in dpkt.pcap.Reader(file):
        frames += 1
        network = dpkt.ethernet.Ethernet(data).data
        transport = getattr(network, "data", None)
        if isinstance(transport, dpkt.tcp.TCP):
            dpkt.tcp.parse_opts(transport.opts)
        elif isinstance(transport, dpkt.udp.UDP) and 53 in (transport.sport, transport.dport):
            dpkt.dns.DNS(transport.data)
print(frames)
