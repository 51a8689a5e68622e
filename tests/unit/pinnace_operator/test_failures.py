"""Which failed pods a Job leaves out of its count: decided as Kubernetes decides it."""

from typing import Any

import msgspec
import pytest

from pinnace_operator.experiment_spec import PodFailurePolicy
from pinnace_operator.failures import is_ignored, policy

DISRUPTED = frozenset({("DisruptionTarget", "True"), ("Ready", "False")})


def rules(*parts: str) -> PodFailurePolicy:
    """`Ignore In 3 4`, `FailJob NotIn 3 of train`, `Count Odd=True`."""
    found: list[dict[str, Any]] = []
    for part in parts:
        action, kind, *rest = part.split()
        if kind in ("In", "NotIn"):
            named = {"containerName": rest.pop()} if "of" in rest else {}
            codes = [int(code) for code in rest if code != "of"]
            found.append({"action": action, "onExitCodes": {"operator": kind, "values": codes, **named}})
        else:
            type_, _, status = kind.partition("=")
            found.append({"action": action, "onPodConditions": [{"type": type_, "status": status}]})
    return msgspec.convert({"rules": found}, PodFailurePolicy)


@pytest.mark.parametrize(
    ("given", "exit_codes", "conditions", "ignored"),
    [
        ([], {"train": 143}, DISRUPTED, True),
        ([], {"train": 143}, frozenset(), False),
        ([], {"train": 143}, frozenset({("DisruptionTarget", "False")}), False),
        (["Count DisruptionTarget=True"], {"train": 143}, DISRUPTED, False),
        (["FailJob In 42"], {"train": 42}, DISRUPTED, False),
        (["FailJob In 42"], {"train": 1}, DISRUPTED, True),
        (["Ignore In 3 4"], {"train": 4}, frozenset(), True),
        (["Ignore In 3 4"], {"train": 5}, frozenset(), False),
        (["Ignore NotIn 3"], {"train": 5}, frozenset(), True),
        (["Ignore NotIn 3"], {"train": 0}, frozenset(), False),
        (["Ignore NotIn 3"], {"train": 3, "other": 0}, frozenset(), False),
        (["Ignore NotIn 3"], {"train": 3, "pinnace-sidecar": 137}, frozenset(), True),
        (["Ignore NotIn 3 of train"], {"train": 3, "pinnace-sidecar": 137}, frozenset(), False),
        (["Count In 4", "Ignore In 4"], {"train": 4}, frozenset(), False),
        (["Ignore Odd=Unknown"], {"train": 4}, frozenset({("Odd", "Unknown")}), True),
    ],
)
def test_the_first_rule_that_matches_decides(
    given: list[str], exit_codes: dict[str, int], conditions: frozenset[tuple[str, str]], ignored: bool
) -> None:
    built = msgspec.convert(policy(rules(*given)), PodFailurePolicy)
    assert is_ignored(built, exit_codes, conditions) is ignored


def test_a_job_without_a_policy_counts_every_failure() -> None:
    assert not is_ignored(None, {"train": 143}, DISRUPTED)
