"""The ladder of completeness, rung by rung."""

import pytest

from pinnace.records import WriterEnd
from pinnace_sidecar.completeness import Ending, Evidence, Verdict, Writer, judge

SETTLE_S = 5.0
END = 1000.0

SETTLED = Evidence(modified_at=900, unchanged_for=5.0, looks=2, writer=Writer.NONE)
UNASKED = Evidence(modified_at=900, unchanged_for=5.0, looks=2)
OPEN = Evidence(modified_at=900, unchanged_for=3600, looks=99, writer=Writer.OPEN)
FRESH = Evidence(modified_at=END - 1, unchanged_for=0.5, looks=2)
OLD = Evidence(modified_at=END - 60, unchanged_for=0.0, looks=1)
GROWING = Evidence(modified_at=END - 60, unchanged_for=3600, looks=100, grows=True)


def ended(how: WriterEnd) -> Ending:
    return Ending(at=END, writers=how)


@pytest.mark.parametrize(
    ("evidence", "ending", "verdict"),
    [
        # While the writers live.
        (Evidence(modified_at=900, marked=True), None, Verdict.COMPLETE),
        (Evidence(modified_at=900, renamed=True), None, Verdict.COMPLETE),
        (Evidence(modified_at=900, promised=True), None, Verdict.COMPLETE),
        (SETTLED, None, Verdict.COMPLETE),
        (UNASKED, None, Verdict.ASK),
        (OPEN, None, Verdict.WAIT),
        (Evidence(modified_at=900, unchanged_for=5.0, looks=2, writer=Writer.UNKNOWN), None, Verdict.COMPLETE),
        # A contract needs no silence, and no closed file.
        (Evidence(modified_at=900, marked=True, writer=Writer.OPEN), None, Verdict.COMPLETE),
        (Evidence(modified_at=900, promised=True, writer=Writer.OPEN), None, Verdict.COMPLETE),
        (Evidence(modified_at=900, unchanged_for=4.9, looks=9), None, Verdict.WAIT),
        (Evidence(modified_at=900, unchanged_for=60, looks=1), None, Verdict.WAIT),
        (GROWING, None, Verdict.WAIT),
        (Evidence(modified_at=900, marked=True, grows=True), None, Verdict.COMPLETE),
        # Told that they have ended, not yet how: silence proves nothing for a file touched just now.
        (FRESH, ended(WriterEnd.RUNNING), Verdict.WAIT),
        (Evidence(modified_at=END - 1, unchanged_for=60, looks=9), ended(WriterEnd.RUNNING), Verdict.WAIT),
        (SETTLED, ended(WriterEnd.RUNNING), Verdict.COMPLETE),
        (UNASKED, ended(WriterEnd.RUNNING), Verdict.ASK),
        (OPEN, ended(WriterEnd.RUNNING), Verdict.WAIT),
        (OLD, ended(WriterEnd.RUNNING), Verdict.WAIT),
        (GROWING, ended(WriterEnd.RUNNING), Verdict.WAIT),
        # They ended as they wanted.
        (FRESH, ended(WriterEnd.CLEAN), Verdict.COMPLETE),
        (OLD, ended(WriterEnd.CLEAN), Verdict.COMPLETE),
        (GROWING, ended(WriterEnd.CLEAN), Verdict.COMPLETE),
        (OPEN, ended(WriterEnd.CLEAN), Verdict.COMPLETE),
        # They didn't, or nobody knows.
        (FRESH, ended(WriterEnd.FAILED), Verdict.TORN),
        (OLD, ended(WriterEnd.FAILED), Verdict.COMPLETE),
        (GROWING, ended(WriterEnd.FAILED), Verdict.COMPLETE),
        (Evidence(modified_at=END - 1, marked=True), ended(WriterEnd.FAILED), Verdict.COMPLETE),
        (FRESH, ended(WriterEnd.UNKNOWN), Verdict.TORN),
        (OLD, ended(WriterEnd.UNKNOWN), Verdict.COMPLETE),
    ],
)
def test_the_ladder_says(evidence: Evidence, ending: Ending | None, verdict: Verdict) -> None:
    assert judge(evidence, SETTLE_S, ending) is verdict
