"""What training does to its volume: `FOLDER COUNT MIB` checkpoints, each synced, in writes of 1 MiB."""

import os
import sys
from pathlib import Path

folder, count, mebibytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
block = os.urandom(2**20)
for number in range(count):
    with (folder / f"{os.getpid()}-{number}.bin").open("wb", buffering=0) as file:
        for _ in range(mebibytes):
            file.write(block)
        os.fsync(file.fileno())
