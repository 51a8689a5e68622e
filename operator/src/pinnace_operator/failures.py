"""What the failure of a pod counts for: the rules that a Job gets, and which failures they leave out of its count."""

from collections.abc import Mapping, Set
from typing import Any, Final

import msgspec

from pinnace_operator.experiment_spec import (
    FailureAction,
    FailureRule,
    Membership,
    OnExitCodes,
    OnPodCondition,
    PodFailurePolicy,
)
from pinnace_operator.experiment_status import ConditionStatus

#: Evicted, preempted, drained, or lost with its node: nothing that the training could have done better.
DISRUPTED: Final = FailureRule(
    action=FailureAction.IGNORE,
    on_pod_conditions=(OnPodCondition(type="DisruptionTarget", status=ConditionStatus.TRUE),),
)


def policy(wanted: PodFailurePolicy | None) -> dict[str, Any]:
    """The podFailurePolicy of a Job: the user's rules, which come first and win, and then ours."""
    rules = (*(wanted.rules if wanted else ()), DISRUPTED)
    built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(PodFailurePolicy(rules=rules)))
    return built


def is_ignored(
    wanted: PodFailurePolicy | None, exit_codes: Mapping[str, int], conditions: Set[tuple[str, str]]
) -> bool:
    """Whether a Job with this policy leaves the failure of such a pod out of its count, as Kubernetes decides it."""
    for rule in wanted.rules if wanted else ():
        if _matches(rule, exit_codes, conditions):
            return rule.action is FailureAction.IGNORE
    return False


def _matches(rule: FailureRule, exit_codes: Mapping[str, int], conditions: Set[tuple[str, str]]) -> bool:
    if rule.on_exit_codes is not None:
        return any(_names(rule.on_exit_codes, name, code) for name, code in exit_codes.items())
    return any((pattern.type, pattern.status.value) in conditions for pattern in rule.on_pod_conditions)


def _names(requirement: OnExitCodes, container: str, code: int) -> bool:
    # An exit code of 0 is no failure, so NotIn does not mean it.
    if code == 0 or requirement.container_name not in (None, container):
        return False
    return (code in requirement.values) is (requirement.operator is Membership.IN)
