"""Log lines for people and machines: time, level, event, each fact, and the id of the request that it happened in."""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

#: What the request that is being answered is called; empty outside of one.
REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")

_PLAIN = re.compile(r"[\w.:/@+%,*{}-]+")


class FactFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z info request.done status=200 ms=1.5`; the facts come in `extra={"fields": {…}}`.

    A value that isn't a plain word is written as a JSON string, so that no value can make a line of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {name}={_spell(value)}" for name, value in _facts(record).items())
        line = f"{_moment(record)} {record.levelname.lower()} {_one_line(record.getMessage())}{facts}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `event`, `logger`, each fact, and `trace` of an unexpected error."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_facts(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, style: str = "text") -> None:
    """Log to standard error from `level` on, as `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else FactFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel("WARNING")
    logging.getLogger("uvicorn.access").disabled = True  # observing.py writes the access log


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, "fields", {})
    return {**facts, "id": request_id} if (request_id := REQUEST_ID.get()) else facts


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _spell(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")
