"""What training does: `FOLDER COUNT MIB PAUSE`: so many checkpoints, each synced, in writes of 1 MiB, and pauses."""

import os
import sys
import time
from pathlib import Path

folder, count, mebibytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
block = os.urandom(2**20)
for number in range(count):
    with (folder / f"{os.getpid()}-{number}.bin").open("wb", buffering=0) as file:
        for _ in range(mebibytes):
            file.write(block)
        os.fsync(file.fileno())
    time.sleep(float(sys.argv[4]))
