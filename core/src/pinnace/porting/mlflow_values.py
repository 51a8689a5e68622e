"""What MLflow has written, in our words: pure.

MLflow keeps every parameter as the text that Python has made of it. What reads as a number or as True or False becomes
that again, so that a filter can compare it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pinnace.records import IterationState, MetricPoint, ModelStage, metric_value_to_wire
from pinnace.redaction import hidden_in

SOURCE: Final = "mlflow"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
_WORDS: Final = {"True": True, "False": False}
#: As far as every reader of JSON keeps a whole number.
_MAX_WHOLE: Final = 2**53
_MAX_TAGS: Final = 100
_MAX_TAG_KEY: Final = 100
_MAX_TAG_VALUE: Final = 4096
_SYSTEM: Final = "mlflow."
_STATES: Final = {
    1: IterationState.RUNNING,
    2: IterationState.PENDING,
    3: IterationState.SUCCEEDED,
    4: IterationState.FAILED,
    5: IterationState.KILLED,
}
_STAGES: Final = {
    "Staging": ModelStage.STAGING,
    "Production": ModelStage.PRODUCTION,
    "Archived": ModelStage.ARCHIVED,
}
_GIT: Final = {"commit": "git.commit", "branch": "git.branch", "remote": "git.repoURL"}


def parameter(text: str) -> Any:
    """A number, True, False, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    if match[2] or match[3]:
        number = float(text)
        return number if abs(number) != float("inf") else text
    whole = int(text) if len(text) < 20 else _MAX_WHOLE + 1
    return whole if abs(whole) <= _MAX_WHOLE else text


def point(key: str, line: str, offset: int) -> MetricPoint:
    """`TIME VALUE [STEP [DATASET DIGEST]]`, the time in ms. Raises ValueError."""
    parts = line.split()
    if len(parts) not in (2, 3, 5):
        raise ValueError(f"a line has 2, 3 or 5 parts, not {len(parts)}")
    step = int(parts[2]) if len(parts) > 2 else 0
    if abs(step) > _MAX_WHOLE:
        raise ValueError(f"the step {step} is too large")
    value = metric_value_to_wire(float(parts[1]))
    return MetricPoint(key=key, value=value, step=step, time=moment(int(parts[0])), source=SOURCE, offset=offset)


def moment(milliseconds: Any) -> datetime | None:
    """None for none. Raises ValueError."""
    if milliseconds is None:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=int(milliseconds))
    except (OverflowError, TypeError) as error:
        raise ValueError(f"{milliseconds!r} is no time") from error


def state(status: Any) -> IterationState:
    """RUNNING for what is none, as MLflow has it."""
    return _STATES.get(status, IterationState.RUNNING)


def stage(name: Any) -> ModelStage | None:
    """None: the version is deleted."""
    return None if name == "Deleted_Internal" else _STAGES.get(str(name), ModelStage.NONE)


def tags(all_of_them: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Those of people, and what has another place: MLflow's own ones, and what is too long or too much for tags."""
    ours: dict[str, str] = {}
    others: dict[str, str] = {}
    for key, value in sorted(all_of_them.items()):
        fits = len(key) <= _MAX_TAG_KEY and len(value) <= _MAX_TAG_VALUE and len(ours) < _MAX_TAGS
        (ours if fits and not key.startswith(_SYSTEM) else others)[key] = value
    return ours, others


def environment(info: Mapping[str, Any], system: Mapping[str, str]) -> dict[str, Any]:
    """What of a run is needed to do it again, where `pinnace.iteration` puts it; and all else as it was."""
    system = {key: hidden_in(value) for key, value in system.items()}
    found: dict[str, Any] = {}
    git = {name: system[key] for name, tag in _GIT.items() if (key := f"{_SYSTEM}source.{tag}") in system}
    if git:
        found["git"] = git
    if entry := system.get(f"{_SYSTEM}source.name"):
        found["command"] = {"entry_point": entry}
    facts = {key: str(value) for key, value in info.items() if value not in (None, "", [], {})}
    return found | {SOURCE: {"run": facts, "tags": system}}


def model_name(name: str) -> str:
    """As our registry can call it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100].strip("-._") or "model"


def named(name: str, all_of_them: Mapping[str, str]) -> dict[str, str]:
    """Tags of a model or a version, with what it was called there."""
    return {SOURCE: name[:_MAX_TAG_VALUE]} | tags(all_of_them)[0]
