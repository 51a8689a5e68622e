"""One line of a metrics file, and what is in it."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinnace.records import MetricBatch, MetricPoint, MetricValue, metric_value_from_wire
from pinnace_sidecar.metric_lines import BadLine, parse


def points(line: str | bytes, index: int = 7) -> tuple[MetricPoint, ...]:
    raw = line.encode() if isinstance(line, str) else line
    return parse(raw, index=index, source="pod:metrics.jsonl", offset=99)


def values(line: str | bytes) -> dict[str, MetricValue]:
    return {point.key: point.value for point in points(line)}


def test_each_number_is_a_metric_of_the_lines_step_and_time() -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert points('{"step": 3, "time": "2026-01-02T03:04:05Z", "loss": 0.5, "n": 2}') == (
        MetricPoint(key="loss", step=3, value=0.5, time=time, source="pod:metrics.jsonl", offset=99),
        MetricPoint(key="n", step=3, value=2.0, time=time, source="pod:metrics.jsonl", offset=99),
    )


def test_without_a_step_the_lines_own_number_counts() -> None:
    (point,) = points('{"loss": 1}', index=41)
    assert point.step == 41


def test_seconds_since_the_epoch_are_a_time_too() -> None:
    (point,) = points('{"timestamp": 0.5, "loss": 1}')
    assert point.time == datetime(1970, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)


def test_nan_and_infinities_are_kept() -> None:
    written = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": "NaN", "e": "-Infinity", "f": 1.5}
    assert values(json.dumps(written)) == {
        "a": "NaN",
        "b": "Infinity",
        "c": "-Infinity",
        "d": "NaN",
        "e": "-Infinity",
        "f": 1.5,
    }


def test_what_is_no_number_is_passed_over() -> None:
    assert values('{"phase": "train", "ok": true, "none": null, "nested": {"a": 1}, "list": [1], "loss": 1}') == {
        "loss": 1
    }


@pytest.mark.parametrize("line", ["", "  ", "\n", "\r\n", "{}", '{"event": "start"}'])
def test_a_line_without_metrics_is_no_mistake(line: str) -> None:
    assert points(line) == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"loss": 1', "not JSON"),
        ("loss=1", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ("1", "not a JSON object"),
        ('{"step": 1.5, "loss": 1}', "step"),
        ('{"step": "3", "loss": 1}', "step"),
        ('{"step": true, "loss": 1}', "step"),
        ('{"step": NaN, "loss": 1}', "step"),
        ('{"step": 9007199254740993, "loss": 1}', "step"),
        ('{"time": "yesterday", "loss": 1}', "time"),
        ('{"time": 1e300, "loss": 1}', "time"),
        ('{"time": [], "loss": 1}', "time"),
        ('{"time": true, "loss": 1}', "time"),
        ('{"": 1}', "a key has 1 to 250 characters, not 0"),
        (json.dumps({"k" * 251: 1}), "a key has 1 to 250 characters, not 251"),
        (r'{"\ud800": 1}', "can't be printed"),
        (r'{"a\u0000": 1}', "can't be printed"),
        (f'{{"loss": 1{"0" * 400}}}', "too large"),
        (f'{{"loss": 1{"0" * 5000}}}', "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_says_why(line: str | bytes, why: str) -> None:
    with pytest.raises(BadLine, match=why):
        points(line)


@given(st.binary(max_size=200))
def test_any_bytes_are_points_or_a_bad_line(line: bytes) -> None:
    _parses_or_is_bad(line)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["step", "time", "timestamp", "loss", "acc", "é", "x y"]), _JSON, max_size=5))
@settings(suppress_health_check=[HealthCheck.too_slow])  # said of a busy machine
def test_any_object_is_points_that_can_travel_or_a_bad_line(fields: dict[str, Any]) -> None:
    _parses_or_is_bad(json.dumps(fields).encode())


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.floats(width=64) | st.integers(-(2**53), 2**53)))
def test_every_number_arrives_as_it_was_written(fields: dict[str, float]) -> None:
    arrived = {key: metric_value_from_wire(value) for key, value in values(json.dumps(fields)).items()}
    assert {key: repr(value) for key, value in arrived.items()} == {
        key: repr(float(value)) for key, value in fields.items()
    }


def _parses_or_is_bad(line: bytes) -> None:
    try:
        found = points(line)
    except BadLine:
        return
    batch = MetricBatch(points=found)
    arrived = msgspec.json.decode(msgspec.json.encode(batch), type=MetricBatch)
    assert msgspec.to_builtins(arrived) == msgspec.to_builtins(batch)
