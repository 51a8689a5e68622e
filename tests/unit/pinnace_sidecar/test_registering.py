"""Rows, points and reports reach the API once in effect, whatever it answers."""

import pytest

from pinnace.client import ApiError, Forbidden, NotFound, Unauthorized, Unavailable, Unexpected, Unreachable
from pinnace.records import FileState
from support.pod import Pod, paths

METRICS = b'{"loss": 1}\n{"loss": 2}\n'


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unreachable("no answer"), "ApiUnreachable"),
        (Unavailable("busy", status=503), "ApiUnavailable"),
        (Unauthorized("who?", status=401), "ApiUnauthorized"),
        (Forbidden("not yours", status=403), "ApiForbidden"),
        (NotFound("no such iteration", status=404, code="iteration-not-found"), "IterationNotFound"),
        (NotFound("no such route", status=404), "ApiNotFound"),
        (Unexpected("what?", status=500), "ApiFailed"),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_an_api_that_fails_for_a_while_delays_and_loses_nothing(
    pod: Pod, error: ApiError, reason: str, after: bool
) -> None:
    pod.write("a", b"1")
    pod.write("metrics.jsonl", METRICS)
    pod.api.fail_next(error, times=8, after=after)
    pod.start()
    pod.run_for(12)
    assert [problem.reason for problem in pod.sidecar.report().problems] == [reason]
    pod.run_for(600)
    assert paths(pod) == ["a"]
    assert [point.value for point in pod.api.points.values()] == [1.0, 2.0]
    report = pod.api.report
    assert (report.files[FileState.RECORDED], report.metric_points, report.problems) == (1, 2, ())
    assert pod.copies() == []


def test_a_sidecar_earlier_than_its_iteration_waits_for_it(pod: Pod) -> None:
    pod.api.iterations = set()
    pod.write("a", b"1")
    pod.start()
    pod.run_for(60)
    assert paths(pod) == []
    pod.api.iterations = {pod.settings.iteration_id}
    pod.run_for(120)
    assert paths(pod) == ["a"]


def test_a_row_that_is_refused_is_quarantined_alone(pod: Pod) -> None:
    for number in range(7):
        pod.write(f"f{number}", b"%d" % number)
    pod.api.refused_paths = {"f3"}
    pod.start()
    report = pod.drain()
    assert paths(pod) == ["f0", "f1", "f2", "f4", "f5", "f6"]
    assert report.final
    assert report.files == {FileState.RECORDED: 6, FileState.QUARANTINED: 1}
    assert "f3: RowRefused: f3 is refused" in report.problems[0].message


def test_rows_that_fail_do_not_keep_the_report_from_saying_so(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.api.broken = {"artifacts"}
    pod.start()
    pod.run_for(60)
    report = pod.api.report
    assert report.files == {FileState.VERIFIED: 1}
    assert [problem.reason for problem in report.problems] == ["ApiFailed"]


def test_points_that_are_refused_do_not_hold_up_the_others(pod: Pod) -> None:
    pod.write("metrics.jsonl", b'{"good": 1, "refused": 2}\n{"good": 3}\n')
    pod.api.refused_keys = {"refused"}
    pod.start()
    report = pod.drain()
    assert [(point.key, point.value) for point in pod.api.points.values()] == [("good", 1.0), ("good", 3.0)]
    assert report.metric_points == 2
    assert [problem.reason for problem in report.problems] == ["MetricPointsRefused"]
    assert report.final


def test_an_api_that_is_away_is_asked_less_and_less(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.api.fail_next(Unreachable("no answer"), times=100_000)
    pod.start()
    pod.run_for(3600)
    assert len(pod.api.requests) < 200


def test_reports_come_when_something_changed_and_at_least_every_half_minute(pod: Pod) -> None:
    pod.write("a", b"1")
    pod.start()
    pod.run_for(20)
    changes = len(pod.api.reports)
    assert 2 <= changes <= 10
    pod.run_for(600)
    assert 18 <= len(pod.api.reports) - changes <= 25
    assert [report.sequence for report in pod.api.reports] == sorted({report.sequence for report in pod.api.reports})


def test_reports_of_a_later_process_are_newer(pod: Pod) -> None:
    pod.start()
    pod.run_for(60)
    before = pod.api.report.sequence
    pod.stop()
    pod.start()
    pod.run_for(3)
    assert min(report.sequence for report in pod.api.reports[-1:]) > before
