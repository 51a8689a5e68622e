"""Writes metrics and a checkpoint, then fails: what had been written is shipped all the same."""

import json
import os
import sys
from pathlib import Path

LAST_EPOCH = 3


def main() -> None:
    directory = Path(os.environ["PINNACE_ARTIFACTS_DIR"])
    with (directory / "metrics.jsonl").open("w", encoding="utf-8", buffering=1) as metrics:
        for epoch in range(LAST_EPOCH):
            metrics.write(json.dumps({"step": epoch, "loss": 10.0**epoch}) + "\n")
            checkpoint = directory / f"epoch-{epoch}.json"
            unfinished = checkpoint.with_name(checkpoint.name + ".tmp")
            unfinished.write_text(json.dumps({"epoch": epoch, "weights": [0.5**epoch, -(0.5**epoch)]}))
            unfinished.rename(checkpoint)
        # A float of JSON has no infinity: this one is spelled as its name, which the tailer understands.
        metrics.write(json.dumps({"step": LAST_EPOCH, "loss": "Infinity"}) + "\n")
    sys.exit("the loss has diverged: giving up")


if __name__ == "__main__":
    main()
