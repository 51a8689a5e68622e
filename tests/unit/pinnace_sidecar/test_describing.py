"""Tags and notes that a training says of its iteration reach the iteration's row, whatever happens on the way."""

import pytest

from pinnace.client import Forbidden, Unreachable
from pinnace.naming import SDK_EVENTS_NAME
from pinnace.tracking.events import Event, Noted, Parameters, Tagged, to_line
from pinnace_sidecar.describing import READ_BYTES
from support.pod import Pod


@pytest.fixture(name="pod")
def running_pod(pod: Pod) -> Pod:
    pod.start()
    return pod


def say(pod: Pod, *events: Event) -> None:
    with (pod.volume / SDK_EVENTS_NAME).open("ab") as file:
        file.write(b"".join(map(to_line, events)))


def tag(**values: str | None) -> Tagged:
    return Tagged(values=values)


def test_they_arrive_while_the_training_runs(pod: Pod) -> None:
    say(pod, tag(team="vision", stage="draft"), Noted(text="first"))
    pod.run_until(lambda: pod.api.notes == "first")
    assert pod.api.tags == {"team": "vision", "stage": "draft"}
    say(pod, tag(stage=None, done="yes"))
    pod.run_until(lambda: "done" in pod.api.tags)
    assert (pod.api.tags, pod.api.notes) == ({"team": "vision", "done": "yes"}, "first")


def test_what_is_said_together_is_one_edit_and_silence_is_none(pod: Pod) -> None:
    say(pod, tag(a="1"), tag(a="2"), Noted(text="x"), tag(b="3"), Noted(text="y"), Parameters(values={"lr": 1}))
    pod.run_for(30)
    assert (pod.api.tags, pod.api.notes, pod.api.edits) == ({"a": "2", "b": "3"}, "y", 1)


def test_what_somebody_else_edits_meanwhile_stays(pod: Pod) -> None:
    say(pod, tag(a="1"), Noted(text="by the training"))
    pod.run_for(5)
    pod.api.tags["a"], pod.api.notes = "by a person", "by a person"
    say(pod, tag(b="2"))
    pod.run_for(5)
    assert (pod.api.tags, pod.api.notes) == ({"a": "by a person", "b": "2"}, "by a person")


def test_the_final_report_waits_for_them(pod: Pod) -> None:
    say(pod, tag(a="1"))
    pod.api.fail_next(Unreachable("away"), times=3)
    assert pod.drain().final
    assert pod.api.tags == {"a": "1"}


def test_an_answer_that_is_lost_costs_nothing(pod: Pod) -> None:
    say(pod, tag(a="1"))
    pod.api.fail_next(Unreachable("cut"), after=True)
    pod.run_for(30)
    say(pod, tag(a="2"))
    assert pod.drain().final
    assert pod.api.tags == {"a": "2"}


def test_in_their_order_though_the_first_was_held_up(pod: Pod) -> None:
    say(pod, tag(a="1", b="1"))
    pod.api.fail_next(Forbidden("not labelled yet", status=403, code="forbidden"), times=2)
    pod.run_for(2)
    say(pod, tag(a="2"))
    pod.run_until(lambda: pod.api.tags == {"a": "2", "b": "1"})


def test_what_is_refused_for_what_it_is_holds_up_nothing(pod: Pod) -> None:
    pod.api.refused_tags = {"bad"}
    say(pod, tag(bad="1"))
    pod.write("weights.bin", b"weights")
    assert pod.drain().final
    assert pod.api.tags == {}
    assert any(row.path == "weights.bin" for row in pod.api.rows.values())


def test_a_sidecar_that_starts_again_ends_with_the_same(pod: Pod) -> None:
    say(pod, tag(a="1"), Noted(text="x"))
    pod.run_for(5)
    pod.stop()
    pod.start()
    say(pod, tag(a="2"))
    assert pod.drain().final
    assert (pod.api.tags, pod.api.notes) == ({"a": "2"}, "x")


def test_half_a_line_waits_and_a_bad_one_is_passed_over(pod: Pod) -> None:
    file = pod.write(SDK_EVENTS_NAME, b'no json\n{"do":"unheard-of"}\n' + to_line(tag(a="1"))[:-9])
    pod.run_for(5)
    assert pod.api.edits == 0
    with file.open("ab") as rest:
        rest.write(to_line(tag(a="1"))[-9:])
    assert pod.drain().final
    assert pod.api.tags == {"a": "1"}


@pytest.mark.parametrize("size", [READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 5 * READ_BYTES // 2])
def test_lines_longer_than_a_read_hide_none(pod: Pod, size: int) -> None:
    """Nobody of ours writes them: an environment with a long patch is the longest line."""
    say(pod, tag(before="1"))
    with (pod.volume / SDK_EVENTS_NAME).open("ab") as file:
        file.write(b"x" * size + b"\n")
    say(pod, *(tag(**{f"t{number}": "y" * 200}) for number in range(3)), tag(after="2"))
    assert pod.drain().final
    assert {"before", "t0", "t2", "after"} <= set(pod.api.tags)


def test_a_file_that_takes_its_place_is_read_from_its_start(pod: Pod) -> None:
    say(pod, tag(a="1"), tag(b="1"))
    pod.run_for(5)
    other = pod.write("other.tmp", to_line(tag(c="1")))
    other.rename(pod.volume / SDK_EVENTS_NAME)
    assert pod.drain().final
    assert set(pod.api.tags) == {"a", "b", "c"}
