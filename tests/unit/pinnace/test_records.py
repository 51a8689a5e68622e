import math
from uuid import UUID

import msgspec
import pytest

from pinnace.digests import EMPTY_SHA256
from pinnace.records import (
    FINAL_STATES,
    Artifact,
    FileState,
    Manifest,
    MetricPoint,
    PodReport,
    metric_value_from_wire,
    metric_value_to_wire,
)


@pytest.mark.parametrize("value", [0.0, -1.5, 1e308, math.inf, -math.inf, math.nan])
def test_every_float_survives_the_wire(value: float) -> None:
    point = MetricPoint(key="loss", step=1, value=metric_value_to_wire(value))
    back = metric_value_from_wire(msgspec.json.decode(msgspec.json.encode(point), type=MetricPoint).value)
    assert back == value or (math.isnan(back) and math.isnan(value))


def test_other_words_are_no_metric_values() -> None:
    with pytest.raises(ValueError, match="a metric value is"):
        metric_value_from_wire("nan")


def test_a_report_survives_the_termination_message_and_counts_what_is_pending() -> None:
    report = PodReport(
        iteration_id=UUID(int=1),
        pod_uid="p",
        sequence=3,
        files={FileState.SETTLED: 2, FileState.RECORDED: 5, FileState.QUARANTINED: 1},
        manifest=Manifest(count=5, sha256=EMPTY_SHA256),
    )
    assert msgspec.json.decode(msgspec.json.encode(report), type=PodReport) == report
    assert report.pending == 2


def test_fields_of_a_newer_version_are_ignored() -> None:
    message = {"iteration_id": str(UUID(int=1)), "pod_uid": "p", "sequence": 0, "new": 1}
    message["manifest"] = {"count": 0, "sha256": EMPTY_SHA256}
    assert msgspec.convert(message, PodReport).sequence == 0


@pytest.mark.parametrize(
    ("field", "value"), [("sha256", "AB" * 32), ("size", -1), ("path", ""), ("crc32c", "nope"), ("id", "x")]
)
def test_a_wrong_artifact_is_refused_with_the_fields_name(field: str, value: object) -> None:
    body = {
        "id": str(UUID(int=1)),
        "iteration_id": str(UUID(int=2)),
        "path": "a",
        "size": 1,
        "sha256": EMPTY_SHA256,
        "crc32c": "AAAAAA==",
        "location": {"endpoint": "http://s3", "region": "r", "bucket": "bucket", "key": "k"},
        "modified_at": "2026-01-01T00:00:00Z",
    }
    assert msgspec.convert(body, Artifact, strict=False).size == 1
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({**body, field: value}, Artifact, strict=False)


def test_the_final_states_are_the_ends_of_the_ladder() -> None:
    way = [FileState.SEEN, FileState.SETTLED, FileState.BUFFERED, FileState.UPLOADED, FileState.VERIFIED]
    assert set(FileState) == FINAL_STATES | set(way)
