"""The API's pure decisions: an iteration's progress, a metric's summary, values, cursors, settings, log lines."""

import logging
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.records import IterationPatch, IterationState, IterationWrite
from pinnace.settings import SettingsError
from pinnace_api.configuration import configured
from pinnace_api.edits import difference, edited_tags
from pinnace_api.iterations.progress import Progress, advance, edit, stamped
from pinnace_api.logs import FactFormatter
from pinnace_api.metrics.steps import Unnumbered, number
from pinnace_api.metrics.summary import EMPTY, Point, Summary, summarise
from pinnace_api.paging import Cut, Moment, cursor
from pinnace_api.refusals import Conflict, Ended, Invalid
from pinnace_api.settings import ApiSettings
from pinnace_api.values import canonical, microseconds, moment_of, utc
from support.samples import MOMENT

ENDS = (IterationState.SUCCEEDED, IterationState.FAILED, IterationState.KILLED)


def progress(state: IterationState, **parameters: Any) -> Progress:
    return Progress(parameters=parameters, state=state, started_at=None, ended_at=None)


def write(state: IterationState, **parameters: Any) -> IterationWrite:
    return IterationWrite(experiment_id=uuid4(), index=0, state=state, parameters=parameters)


@pytest.mark.parametrize("before", list(IterationState))
@pytest.mark.parametrize("after", list(IterationState))
def test_an_end_is_never_left_and_everything_else_may_follow(before: IterationState, after: IterationState) -> None:
    if before is after:
        allowed = True
    elif before in ENDS:
        allowed = False
    else:
        allowed = after is not IterationState.LOST
    if allowed:
        assert advance(uuid4(), progress(before), write(after)).state is after
    else:
        with pytest.raises(Conflict):
            advance(uuid4(), progress(before), write(after))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("after", [state for state in IterationState if state is not IterationState.LOST])
def test_the_system_s_own_parts_are_never_refused_and_leave_the_end(end: IterationState, after: IterationState) -> None:
    advanced = advance(uuid4(), progress(end, lr=1), write(after, depth=3), by_part=True)
    assert advanced == progress(end, lr=1, depth=3)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (IterationPatch(state=IterationState.RUNNING), "state"),
        (IterationPatch(ended_at=MOMENT), "ended_at"),
        (IterationPatch(error="other"), "error"),
        (IterationPatch(parameters={"depth": 3}), "parameters"),
        (IterationPatch(environment={"commit": "b"}), "environment"),
    ],
)
def test_what_an_end_locks_is_named(change: IterationPatch, field: str) -> None:
    with pytest.raises(Ended) as caught:
        edit(uuid4(), progress(IterationState.KILLED, lr=1), change, override=True, by_part=False)
    assert caught.value.field == field


def test_the_same_end_may_be_said_again() -> None:
    stored = msgspec.structs.replace(progress(IterationState.FAILED, lr=1), error="boom")
    again = IterationPatch(state=IterationState.FAILED, error="boom", parameters={"lr": 1})
    assert edit(uuid4(), stored, again, override=False, by_part=False) == stored


def test_state_and_times_never_contradict_each_other() -> None:
    running = stamped(IterationState.PENDING, progress(IterationState.RUNNING), MOMENT)
    assert (running.started_at, running.ended_at) == (MOMENT, None)
    later = MOMENT + timedelta(hours=1)
    ended = stamped(IterationState.RUNNING, msgspec.structs.replace(running, state=IterationState.KILLED), later)
    assert (ended.started_at, ended.ended_at) == (MOMENT, later)
    assert stamped(IterationState.KILLED, ended, later + timedelta(hours=1)) == ended


@pytest.mark.parametrize("number", [1e16, -1e23, 1.5e300, 12345678901234567890.0])
def test_a_number_without_its_exponent_is_the_same_number(number: float) -> None:
    """PostgreSQL gives JSON numbers back like that."""
    whole = int(Decimal(repr(number)))
    assert canonical({"a": [number]}) == canonical({"a": [whole]})
    assert canonical(1.0) != canonical(1)


def unnumbered(*points: tuple[int, int, int | None]) -> list[Unnumbered]:
    """(metric, offset, step) of one source."""
    return [Unnumbered(metric, 0, offset, step) for metric, offset, step in points]


def test_steps_go_on_above_the_highest_in_the_order_of_the_batch() -> None:
    points = unnumbered((1, 0, None), (1, 1, None), (2, 2, None), (1, 3, 10), (1, 4, None), (1, 0, None), (2, 9, None))
    steps, chosen = number(points, highest={2: 6}, known={(2, 0, 9): 3})
    assert steps == [0, 1, 7, 10, 11, 0, 3]
    assert chosen == {(1, 0, 0): 0, (1, 0, 1): 1, (2, 0, 2): 7, (1, 0, 4): 11}


_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=2)


@given(
    before=st.dictionaries(_TEXTS, _TEXTS, max_size=4),
    after=st.dictionaries(_TEXTS, _TEXTS, max_size=4),
)
def test_a_difference_of_tags_is_the_patch_between_them(before: dict[str, str], after: dict[str, str]) -> None:
    assert edited_tags(before, difference(before, after)) == after


@pytest.mark.parametrize(
    ("stored", "sent", "same"),
    [(1, 1, True), (1, 1.0, False), (1, True, False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), ("1", 1, False)],
)
def test_a_parameter_is_the_same_when_its_json_is(stored: Any, sent: Any, same: bool) -> None:
    call = (uuid4(), progress(IterationState.RUNNING, lr=stored), write(IterationState.RUNNING, lr=sent))
    if same:
        assert advance(*call) == call[1]
    else:
        with pytest.raises(Conflict):
            advance(*call)


points = st.lists(
    st.builds(
        Point,
        step=st.integers(-3, 3),
        time=st.integers(0, 2),
        source=st.integers(0, 1),
        offset=st.integers(0, 3),
        value=st.none() | st.floats(allow_nan=False),
    ),
    unique_by=lambda point: (point.step, point.source, point.offset),
)


@given(points, st.integers(0, 10))
def test_a_summary_kept_up_in_batches_is_the_summary_of_all(all_points: list[Point], cut: int) -> None:
    kept = summarise(summarise(EMPTY, all_points[:cut]), all_points[cut:])
    values = [point.value for point in all_points if point.value is not None]
    assert kept == Summary(
        len(all_points),
        min(values, default=None),
        max(values, default=None),
        max(all_points, key=lambda point: point[:4], default=None),
    )


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_survives_as_microseconds(moment: datetime) -> None:
    assert moment_of(microseconds(moment, "time")) == moment


def test_a_moment_without_offset_is_utc() -> None:
    assert utc(datetime(2026, 1, 1), "t") == datetime(2026, 1, 1, tzinfo=UTC)  # noqa: DTZ001 - that is the point
    with pytest.raises(Invalid):
        utc(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))), "t")


@given(st.datetimes(timezones=st.just(UTC)), st.uuids(), st.text().filter(lambda text: "\0" not in text))
def test_a_cursor_comes_back_as_it_was(moment: datetime, uuid: UUID, text: str) -> None:
    key = (moment, uuid, text)
    assert Cut(after=cursor(key)).position(tuple[Moment, UUID, str]) == key


@given(st.text(max_size=60))
def test_what_is_no_cursor_is_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(Invalid):
        Cut(after=text).position(tuple[Moment, int])


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PINNACE_API_PORT": "http"}, "PINNACE_API_PORT"),
        ({"PINNACE_API_PUBLIC_URL": "http://pinnace.example"}, "PINNACE_API_PUBLIC_URL must be https"),
        ({"PINNACE_API_PUBLIC_URL": "https://a:b@pinnace.example"}, "must not hold a user"),
        ({"PINNACE_API_CORS_ORIGINS": '["*"]'}, "PINNACE_API_CORS_ORIGINS must be https://HOST"),
        ({"PINNACE_API_TRUSTED_PROXIES": "0.0.0.0/0"}, "must not be every address"),
        ({"PINNACE_API_OIDC_ISSUER": "http://login.example"}, "PINNACE_API_OIDC_ISSUER must be https"),
        ({"PINNACE_API_OIDC_ISSUER": "https://login.example"}, "PINNACE_API_OIDC_CLIENT_ID is not set"),
        (
            {
                "PINNACE_API_OIDC_ISSUER": "https://login.example",
                "PINNACE_API_OIDC_CLIENT_ID": "pinnace",
                "PINNACE_API_PUBLIC_URL": "https://pinnace.example",
            },
            "must say who may log in",
        ),
        ({"PINNACE_API_LOG_LEVEL": "loud"}, "PINNACE_API_LOG_LEVEL"),
        ({"PINNACE_API_OPERATOR_SUBJECT": "operator"}, "PINNACE_API_OPERATOR_SUBJECT"),
        ({"PINNACE_API_DATABASE_URL": "nonsense"}, "PINNACE_API_DATABASE_URL is not a database URL"),
        ({"PINNACE_API_DATABASE_URL": "sqlite://"}, "must name a file"),
        ({"PINNACE_API_DATABASE_URL": "mssql+pymssql://a/b"}, "PINNACE_API_DATABASE_URL"),
        ({"PINNACE_API_DATABASE_URL": "postgresql+psycopg2://a/b"}, "driver that is not installed"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        configured(environ)


def test_what_kubernetes_announces_of_a_service_is_no_setting() -> None:
    environ = {"PINNACE_API_PORT": "tcp://10.0.0.1:8080", "PINNACE_API_HOST": "127.0.0.1"}
    assert configured(environ).settings == ApiSettings(host="127.0.0.1")


@pytest.mark.parametrize("content", [None, "", "short"])
def test_an_admin_token_that_is_no_secret_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match="PINNACE_API_ADMIN_TOKEN_FILE"):
        ApiSettings(admin_token_file=str(file)).check_surroundings()


def test_a_folder_that_is_not_there_is_said_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PINNACE_API_DATABASE_URL"):
        ApiSettings(database_url=f"sqlite:///{tmp_path}/missing/api.db").check_surroundings()


def test_settings_do_not_show_the_password_of_the_database() -> None:
    assert "hunter2" not in repr(ApiSettings(database_url="sqlite:///hunter2.db"))


def test_a_log_line_is_one_line_whatever_its_facts_hold() -> None:
    record = logging.LogRecord("n", logging.INFO, "p", 1, "request.done", None, None)
    record.fields = {"path": "/a\nb evil=1", "status": 200, "ratio": math.pi}
    line = FactFormatter().format(record)
    assert line.splitlines() == [line]
    assert line.endswith(' info request.done path="/a\\nb evil=1" status=200 ratio=3.141592653589793')
