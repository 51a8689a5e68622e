"""metav1.Conditions: all types present from the start, lastTransitionTime moves only with the status."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pinnace_operator.experiment_status import Condition, ConditionStatus, ConditionType

#: The API server refuses longer messages; people don't read them either.
MAX_MESSAGE = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a condition says now, without its history."""

    status: ConditionStatus
    reason: str
    message: str


def unknown(reason: str, message: str) -> Finding:
    return Finding(status=ConditionStatus.UNKNOWN, reason=reason, message=message)


def true(reason: str, message: str) -> Finding:
    return Finding(status=ConditionStatus.TRUE, reason=reason, message=message)


def false(reason: str, message: str) -> Finding:
    return Finding(status=ConditionStatus.FALSE, reason=reason, message=message)


def updated(
    conditions: tuple[Condition, ...], findings: Mapping[ConditionType, Finding], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions after `findings`, one for each type, in the order of ConditionType."""
    before = {condition.type: condition for condition in conditions}
    return tuple(_updated(before.get(type_), type_, findings[type_], generation, now) for type_ in ConditionType)


def transitions(before: tuple[Condition, ...], after: tuple[Condition, ...]) -> Iterator[Condition]:
    """The conditions of `after` whose status or reason is new. Not those that begin as Unknown."""
    known = {condition.type: condition for condition in before}
    for condition in after:
        old = known.get(condition.type)
        if old is None and condition.status is ConditionStatus.UNKNOWN:
            continue
        if old is None or (old.status, old.reason) != (condition.status, condition.reason):
            yield condition


def _updated(
    old: Condition | None, type_: ConditionType, finding: Finding, generation: int, now: datetime
) -> Condition:
    same = old is not None and old.status is finding.status
    message = finding.message
    return Condition(
        type=type_,
        status=finding.status,
        reason=finding.reason,
        message=message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…",
        last_transition_time=old.last_transition_time if same and old is not None else now.replace(microsecond=0),
        observed_generation=generation,
    )
