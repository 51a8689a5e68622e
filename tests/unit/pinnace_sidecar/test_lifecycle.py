"""Every file is in exactly one state, and gets on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.records import FINAL_STATES, FileState
from pinnace_sidecar.lifecycle import DUTIES, Event, IllegalStep, step

WAY = [
    FileState.SEEN,
    FileState.SETTLED,
    FileState.BUFFERED,
    FileState.UPLOADED,
    FileState.VERIFIED,
    FileState.RECORDED,
]
RANK = {state: number for number, state in enumerate(WAY)} | {FileState.SUSPECT: 5, FileState.QUARANTINED: 6}
#: VANISHED and WITHDRAWN end in nothing being kept, and UNREAD changes nothing; the others go back.
STEPS_BACK = {
    Event.CHANGED,
    Event.UNREAD,
    Event.REFUTED,
    Event.UNSHARED,
    Event.CLEARED,
    Event.RENEWED,
    Event.VANISHED,
    Event.WITHDRAWN,
}
PROGRESS = {
    FileState.SEEN: Event.SETTLED,
    FileState.SETTLED: Event.COPIED,
    FileState.BUFFERED: Event.STORED,
    FileState.UPLOADED: Event.CONFIRMED,
    FileState.VERIFIED: Event.REGISTERED,
}


@pytest.mark.parametrize("suspect", [False, True])
def test_progress_leads_from_seen_to_the_end(suspect: bool) -> None:
    state: FileState | None = FileState.SEEN
    passed = [state]
    while state in PROGRESS:
        state = step(state, PROGRESS[state], suspect=suspect)
        passed.append(state)
    assert passed == [*WAY[:-1], FileState.SUSPECT if suspect else FileState.RECORDED]


def test_every_state_has_a_duty_or_is_an_end() -> None:
    assert set(DUTIES) | FINAL_STATES == set(FileState)
    assert not set(DUTIES) & FINAL_STATES


def test_only_a_suspect_file_that_is_complete_and_a_quarantined_one_copied_anew_leave_an_end() -> None:
    leave = {(FileState.SUSPECT, Event.CLEARED), (FileState.QUARANTINED, Event.RENEWED)}
    for state in FINAL_STATES:
        for event in Event:
            if (state, event) in leave:
                continue
            with pytest.raises(IllegalStep, match=f"{state} can't be {event}"):
                step(state, event)


def test_every_event_is_possible_somewhere() -> None:
    possible = set()
    for state in FileState:
        for event in Event:
            try:
                step(state, event)
            except IllegalStep:
                continue
            possible.add(event)
    assert possible == set(Event)


@given(st.lists(st.sampled_from(list(Event)), max_size=60), st.booleans())
def test_whatever_happens_nothing_goes_back_without_a_reason(events: list[Event], suspect: bool) -> None:
    state: FileState | None = FileState.SEEN
    for event in events:
        if state is None:
            break
        try:
            after = step(state, event, suspect=suspect)
        except IllegalStep:
            continue
        if event not in STEPS_BACK:
            assert after is not None
            assert RANK[after] > RANK[state]
        state = after


@given(st.lists(st.sampled_from(list(Event)), max_size=60))
def test_a_file_is_recorded_only_after_it_was_verified(events: list[Event]) -> None:
    state: FileState | None = FileState.SEEN
    confirmed = False
    for event in events:
        if state is None:
            break
        try:
            state = step(state, event)
        except IllegalStep:
            continue
        confirmed = (confirmed or event is Event.CONFIRMED) and event not in (Event.REFUTED, Event.UNSHARED)
        assert state not in (FileState.RECORDED, FileState.SUSPECT) or confirmed
