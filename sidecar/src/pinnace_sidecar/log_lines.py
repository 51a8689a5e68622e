"""The log: one JSON object a line, one fact each: `time`, `level`, `event`, and the fact's own figures."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

#: What every log record has anyway; everything else came in by `extra`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def begin(level: str) -> None:
    """Log to standard error from `level` on; libraries only speak of warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("pinnace").setLevel(level.upper())
    logging.getLogger("pinnace_sidecar").setLevel(level.upper())
