"""Count the rows of a Parquet file."""

import sys

import pyarrow.parquet as pq

print(pq.read_metadata(sys.argv[1]).num_rows)
