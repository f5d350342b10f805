"""Make flows of a capture with NFStream, without inspecting payloads."""

import sys

from nfstream import NFStreamer

if __name__ == "__main__":
    flows = NFStreamer(source=sys.argv[1], n_meters=1, n_dissections=0)
    print(sum(flow.bidirectional_packets for flow in flows))
