"""What the operator says of itself: stale watches, a loop that stands still, and its figures."""

from typing import Any

import kopf
import pytest

from pinnace_operator.admission.review import Outcome as Admission
from pinnace_operator.attendance import Attendance
from pinnace_operator.handlers import configure
from pinnace_operator.metrics import Meters
from pinnace_operator.observed import Refusal, Trouble
from pinnace_operator.perform import Outcome
from pinnace_operator.watches import STALE_S, WATCH_S, Watches
from support.operator_world import World, manifest


def test_a_watch_that_is_connected_again_and_again_is_not_stale() -> None:
    clock = [0.0]
    watches = Watches(lambda: clock[0])
    for _ in range(10):
        watches.begin("/pods")
        watches.connected("/pods")
        clock[0] += WATCH_S
        assert watches.stale() == []


def test_a_watch_that_hangs_or_never_came_about_is_stale_and_named() -> None:
    clock = [0.0]
    watches = Watches(lambda: clock[0])
    watches.begin("/jobs")
    watches.begin("/pods")
    clock[0] += STALE_S
    watches.begin("/jobs")
    watches.connected("/pods")
    clock[0] += 1
    assert watches.stale() == ["/jobs"]


def test_a_selector_narrows_which_experiments_are_watched() -> None:
    settings = kopf.OperatorSettings()
    configure(settings, "team=red")
    assert "team=red" in settings.watching.label_selectors.values()


class _Defect:
    def look(self, *_: Any) -> float | None:
        raise RuntimeError("a defect")


def test_the_figures_tell_of_looks_errors_and_jobs() -> None:
    meters = Meters()
    world = World(manifest())
    meters.watch(Attendance(world.reconciliation), Watches(), lambda: True)
    trouble = Trouble(reason="JobRefused", message="a quota")
    meters.note(Outcome(refusal=Refusal(trouble=trouble, generation=1, retry_at=None), unavailable=True))
    meters.note(Outcome(jobs=[{}, {}, {}]))
    meters.note_admission("/pods", Admission.REFUSED, 0.004)
    with pytest.raises(RuntimeError):
        meters.measured(_Defect()).look(None, None)  # type: ignore[arg-type]
    text = meters.text().decode()
    for line in (
        "pinnace_operator_look_seconds_count 1.0",
        'pinnace_operator_errors_total{kind="JobRefused"} 1.0',
        'pinnace_operator_errors_total{kind="ClusterUnavailable"} 1.0',
        'pinnace_operator_errors_total{kind="Defect"} 1.0',
        "pinnace_operator_jobs_created_total 3.0",
        'pinnace_operator_admissions_total{hook="pods",outcome="refused"} 1.0',
        'pinnace_operator_admission_seconds_bucket{hook="pods",le="0.005"} 1.0',
        "pinnace_operator_leader 1.0",
        "pinnace_operator_experiments 0.0",
        "pinnace_operator_oldest_unshipped_seconds 0.0",
    ):
        assert line in text.splitlines()
