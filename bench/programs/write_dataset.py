"""Write the dataset of a capture as ``packets-pcap`` does, with 64 bytes of payload."""

import sys

from network_pipeline.scripts.pcap import main

if __name__ == "__main__":
    capture, dataset = sys.argv[1:]
    sys.argv[1:] = [capture, "--output", dataset, "--payload-bytes", "64"]
    sys.exit(main())
