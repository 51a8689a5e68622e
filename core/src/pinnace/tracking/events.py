"""What an iteration says, one event a line: the format of `events.jsonl` (docs/reference/spool.md). Pure.

The first line of a spool is `begin`, the last of one that came to its end is `end`. A line's own place in its file
identifies it: sent twice, it counts once.
"""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from pinnace.records import DatasetUseWrite, DatasetWrite, IterationState
from pinnace.records.iterations import LongText, Name
from pinnace.records.lifecycle import Tags, TagsPatch
from pinnace.records.metrics import MetricKey, MetricValue
from pinnace.records.projects import ProjectName
from pinnace.records.record import Record

VERSION: Final = 1


class Begin(Record, frozen=True, kw_only=True, tag_field="do", tag="begin"):
    """What was begun."""

    at: datetime
    id: UUID
    project: ProjectName
    experiment: Annotated[str, Meta(min_length=1, max_length=253)]
    parameters: dict[str, Any] = {}
    tags: Tags = {}
    name: Name = ""
    notes: LongText = ""
    parent_id: UUID | None = None
    version: Annotated[int, Meta(ge=1, le=VERSION)] = VERSION


class Metrics(Record, frozen=True, kw_only=True, tag_field="do", tag="metrics"):
    """Values of one step. NaN and the infinities are spelled as their names."""

    at: datetime
    step: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    values: dict[MetricKey, MetricValue]


class Parameters(Record, frozen=True, kw_only=True, tag_field="do", tag="parameters"):
    values: dict[str, Any]


class Tagged(Record, frozen=True, kw_only=True, tag_field="do", tag="tags"):
    """None takes a tag away."""

    values: TagsPatch


class Noted(Record, frozen=True, kw_only=True, tag_field="do", tag="notes"):
    """The notes as a whole, as they are now."""

    text: LongText


class File(Record, frozen=True, kw_only=True, tag_field="do", tag="artifact"):
    """A file. Its bytes lie in the spool's `files/<kept>`; without `kept` at `source`, where they must not change.

    `sha256` is empty and `modified_ns` is not 0 where nobody has read it yet.
    """

    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    size: Annotated[int, Meta(ge=0)]
    kept: str = ""
    source: str = ""
    sha256: str = ""
    modified_ns: int = 0
    content_type: str = ""


class Linked(Record, frozen=True, kw_only=True, tag_field="do", tag="dataset"):
    """A dataset that was consumed or produced."""

    dataset: DatasetWrite
    use: DatasetUseWrite


class Surroundings(Record, frozen=True, kw_only=True, tag_field="do", tag="environment"):
    """What is needed to do it again."""

    values: dict[str, Any]


class End(Record, frozen=True, kw_only=True, tag_field="do", tag="end"):
    at: datetime
    state: IterationState
    error: LongText = ""


Event = Begin | Metrics | Parameters | Tagged | Noted | File | Linked | Surroundings | End

_DECODER: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)
_ENCODER: Final = msgspec.json.Encoder()


def to_line(event: Event) -> bytes:
    """With its line feed. Raises TypeError for what JSON can't hold."""
    return _ENCODER.encode(event) + b"\n"


def from_line(line: bytes) -> Event:
    """Raises ValueError for a line that is none of ours."""
    return _DECODER.decode(line)
