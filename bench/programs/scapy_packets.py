"""Dissect all frames of a capture with scapy."""

import sys

from scapy.layers import dns, inet, inet6, l2  # noqa: F401  they register the layers
from scapy.utils import PcapReader

with PcapReader(sys.argv[1]) as packets:
    print(sum(1 for _ in packets))
