"""What is seen of an engine's object, as the view of a Job: the rest of the operator knows no difference. Pure."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from pinnace_operator.cluster_objects import index_of, job_view, parameters_of
from pinnace_operator.engines.kinds import ENGINES, Engine, Path, Signs, at, says
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.job import (
    QUEUE_LABEL_PREFIX,
    STOPPED_ANNOTATION,
    SUSPENDED_ANNOTATION,
    SUSPENDED_PODS_ANNOTATION,
    UNCOUNTED_PODS_ANNOTATION,
)
from pinnace_operator.manifest import MalformedError, Manifest, Metadata
from pinnace_operator.observed import JobEnd, JobView


class _Object(Manifest, frozen=True, kw_only=True):
    metadata: Metadata
    spec: Mapping[str, Any] = MappingProxyType({})
    status: Mapping[str, Any] = MappingProxyType({})


def work_view(manifest: Mapping[str, Any]) -> JobView:
    """Of a Job, or of the object of another engine. Raises MalformedError for one that isn't ours."""
    # A Job in a list does not say what it is.
    kind = manifest.get("kind", EngineKind.JOB.value)
    if kind == EngineKind.JOB.value:
        return job_view(manifest)
    try:
        return _view(EngineKind(kind), msgspec.convert(manifest, _Object))
    except ValueError as error:
        raise MalformedError(f"{kind} can't be read: {error}") from error


def _view(kind: EngineKind, found: _Object) -> JobView:
    engine, meta = ENGINES[kind], found.metadata
    end = _end(engine, found.status)
    stopped = meta.annotations.get(STOPPED_ANNOTATION, "")
    stops = bool(stopped and engine.stop) and says(found.spec, engine.stop)
    suspended = bool(at(found.spec, engine.suspend)) or stops
    at_rest = engine.at_rest is not None and _says(found.status, engine.at_rest)
    if stopped and end is JobEnd.FAILED:
        # That it did not end well was our doing.
        at_rest, end = True, None
    return JobView(
        uid=meta.uid,
        name=meta.name,
        index=index_of(meta),
        version=meta.version,
        engine=kind,
        suspended=suspended,
        suspended_by_us=suspended and SUSPENDED_ANNOTATION in meta.annotations,
        suspended_pods=frozenset(meta.annotations.get(SUSPENDED_PODS_ANNOTATION, "").split()),
        uncounted_pods=frozenset(meta.annotations.get(UNCOUNTED_PODS_ANNOTATION, "").split()),
        stopped=stopped,
        at_rest=suspended and at_rest,
        parameters=parameters_of(meta),
        queued=any(label.startswith(QUEUE_LABEL_PREFIX) for label in meta.labels),
        created_at=meta.creation_timestamp,
        started_at=_first_time(found.status, engine.started) or (meta.creation_timestamp if end else None),
        ended_at=(_first_time(found.status, engine.ended) or _transition(found.status, engine)) if end else None,
        end=end,
        message=_message(engine, found.status) if end is JobEnd.FAILED else "",
    )


def _end(engine: Engine, status: Mapping[str, Any]) -> JobEnd | None:
    if any(_says(status, signs) for signs in engine.succeeded):
        return JobEnd.SUCCEEDED
    return JobEnd.FAILED if any(_says(status, signs) for signs in engine.failed) else None


def _says(status: Mapping[str, Any], signs: Signs) -> bool:
    return all(
        (_condition(status, place).get("status") if isinstance(place, str) else at(status, place)) == word
        for place, word in signs.items()
    )


def _condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    conditions = status.get("conditions")
    known = conditions if isinstance(conditions, list) else []
    return next((one for one in known if isinstance(one, dict) and one.get("type") == type_), {})


def _ending(status: Mapping[str, Any], engine: Engine) -> Mapping[str, Any]:
    """The condition that says how it ended, where a condition does."""
    types = [place for signs in (*engine.succeeded, *engine.failed) for place in signs if isinstance(place, str)]
    held = [_condition(status, type_) for type_ in types]
    return next((condition for condition in held if condition.get("status") == "True"), {})


def _transition(status: Mapping[str, Any], engine: Engine) -> datetime | None:
    return _time(_ending(status, engine).get("lastTransitionTime"))


def _first_time(status: Mapping[str, Any], paths: tuple[Path, ...]) -> datetime | None:
    return next((time for path in paths if (time := _time(at(status, path))) is not None), None)


def _time(value: Any) -> datetime | None:
    try:
        return msgspec.convert(value, datetime | None, strict=True)
    except msgspec.ValidationError:
        return None


def _message(engine: Engine, status: Mapping[str, Any]) -> str:
    ending = _ending(status, engine)
    said = [ending.get("reason"), ending.get("message"), *(at(status, path) for path in engine.message)]
    return " ".join(text for text in said if isinstance(text, str) and text)
