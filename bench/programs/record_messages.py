"""Do what a processor does with JSON messages: check, flatten, append CSV by whole snapshots.

Arguments: the file of messages, the CSV file, the rows of a snapshot (SAVE_AFTER_NUM). What it
takes to receive messages from a broker is left out.
"""

import itertools
import sys
from pathlib import Path

from network_pipeline import message
from network_pipeline.dataset.recorder import Recorder
from network_pipeline.settings import ProcessorSettings

recorder = Recorder(ProcessorSettings(output=Path(sys.argv[2])))
recorder.start()
with open(sys.argv[1], "rb") as bodies:
    while snapshot := list(itertools.islice(bodies, int(sys.argv[3]))):
        recorder.append([message.decode(body, message.JSON_TYPE, {}) for body in snapshot])
recorder.close()
print(recorder.rows)
