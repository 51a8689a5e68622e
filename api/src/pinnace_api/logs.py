"""Log lines for people and machines: time, level, event, then `key=value` for each fact."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

_PLAIN = re.compile(r"[\w.:/@+%,*{}-]+")


class FactFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z info request.done status=200 ms=1.5`; the facts come in `extra={"fields": {…}}`.

    A value that isn't a plain word is written as a JSON string, so that no value can make a line of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields: dict[str, Any] = getattr(record, "fields", {})
        facts = "".join(f" {name}={_spell(value)}" for name, value in fields.items())
        line = f"{moment} {record.levelname.lower()} {_one_line(record.getMessage())}{facts}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(level: str) -> None:
    """Log to standard error from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FactFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel("WARNING")
    logging.getLogger("uvicorn.access").disabled = True  # observing.py writes the access log


def _spell(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")
