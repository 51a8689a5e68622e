"""What goes wrong at the moment, in words for a person: the source of a report's problems and of the log's warnings."""

import logging
from dataclasses import dataclass
from typing import Final

from pinnace.records import MAX_PROBLEMS_PER_REPORT, Problem

_log = logging.getLogger(__name__)

#: A failure that goes on is said again after this time.
REPEAT_S: Final = 60.0
_MAX_MESSAGE: Final = 1000


@dataclass(slots=True)
class _Said:
    at: float
    times: int = 0


class Problems:
    """One problem per subject (`store`, `api`, a file); a subject that works again has none."""

    def __init__(self) -> None:
        self._current: dict[str, Problem] = {}
        self._said: dict[str, _Said] = {}

    def raised(self, subject: str, reason: str, message: str, now: float, *, files: int = 1) -> None:
        """`subject` failed. Logged at once, then once a minute for as long as the reason goes on failing."""
        self._current[subject] = Problem(reason=reason, message=message[:_MAX_MESSAGE], files=files)
        said = self._said.get(reason)
        if said is None or now - said.at >= REPEAT_S:
            times = (said.times if said else 0) + 1
            _log.warning(message, extra={"reason": reason, "subject": subject, "failures": times})
            self._said[reason] = _Said(now)
        else:
            said.times += 1

    def cleared(self, subject: str, reason: str = "") -> None:
        """`subject` works; with a reason, as far as that goes."""
        if reason and subject in self._current and self._current[subject].reason != reason:
            return
        problem = self._current.pop(subject, None)
        if problem and not any(other.reason == problem.reason for other in self._current.values()):
            self._said.pop(problem.reason, None)
            _log.info("works again", extra={"reason": problem.reason, "subject": subject})

    def problems(self) -> tuple[Problem, ...]:
        """One problem per reason, those that hold up most files first."""
        by_reason: dict[str, Problem] = {}
        for problem in self._current.values():
            first = by_reason.setdefault(problem.reason, Problem(reason=problem.reason, message=problem.message))
            by_reason[problem.reason] = Problem(
                reason=problem.reason, message=first.message, files=first.files + problem.files
            )
        return tuple(sorted(by_reason.values(), key=lambda problem: -problem.files)[:MAX_PROBLEMS_PER_REPORT])
