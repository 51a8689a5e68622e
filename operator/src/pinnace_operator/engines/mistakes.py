"""What of an Experiment another engine than Job can't do, each with what to write instead. Pure."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from pinnace_operator.engines.kinds import ENGINES, Engine, at, found
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import EngineKind, Spec
from pinnace_operator.manifest import Manifest
from pinnace_operator.settings import Platform

#: Of spec.engine.spec as JSON: every Experiment with its status has to fit into one object of etcd.
MAX_BYTES: Final = 256 * 1024

_NAME_LABEL: Final = 63

#: By whether the field may be left out.
_MEND: Final = {True: "leave it out", False: "set it"}

#: Fields that describe a Job, and what they are where nothing is wanted of them.
_OF_JOBS: Final = {
    "workers": 1,
    "backoffLimit": Spec.__struct_defaults__[
        Spec.__struct_fields__.index("backoff_limit") - len(Spec.__struct_fields__)
    ],
    "podFailurePolicy": None,
    "activeDeadlineSeconds": None,
    "ttlSecondsAfterFinished": None,
}


def mistakes(experiment: Experiment, platform: Platform) -> Iterator[tuple[str, str]]:
    """Reason and message of each, the weightiest first."""
    wanted = experiment.spec.engine
    if wanted.kind is EngineKind.JOB:
        if wanted.spec is not None:
            yield (
                "InvalidEngine",
                (
                    "spec.engine.spec is the object of another engine, and spec.engine.kind is Job: write the pod into "
                    "spec.template, or name the engine"
                ),
            )
        return
    engine = ENGINES[wanted.kind]
    if not platform.runs(wanted.kind):
        yield (
            "EngineNotEnabled",
            (
                f"spec.engine.kind is {wanted.kind}, which this operator does not run: ask the administrator to add "
                f"it to operator.engines of the chart's values (it takes {engine.operator}), or use Job"
            ),
        )
    if not platform.injects:
        yield (
            "WebhooksOff",
            (
                f"spec.engine.kind is {wanted.kind}, whose pods get their sidecar by the admission webhook, and that "
                "is switched off: ask the administrator to set webhook.enabled of the chart's values, or use Job"
            ),
        )
    for mistake in (*_of_jobs(experiment, engine), *_object(experiment, engine)):
        yield "InvalidEngine", mistake


def pods(experiment: Experiment) -> Iterator[tuple[str, dict[str, Any]]]:
    """The PodTemplateSpecs of the engine's object, each with its field."""
    wanted = experiment.spec.engine
    for path in ENGINES[wanted.kind].templates:
        for field, template in found(wanted.spec, path, "spec.engine.spec"):
            if isinstance(template, dict):
                yield field, template


def _of_jobs(experiment: Experiment, engine: Engine) -> Iterator[str]:
    kind, spec = experiment.spec.engine.kind, experiment.spec
    values = {field.encode_name: getattr(spec, field.name) for field in msgspec.structs.fields(Spec)}
    for name, default in _OF_JOBS.items():
        if values[name] != default:
            yield (
                f"spec.{name} is for Jobs, and spec.engine.kind is {kind}: leave it out, and see to it in the object: "
                f"{engine.instead[name]}"
            )
    if spec.artifacts.volume.persistent_volume_claim is not None:
        yield (
            f"spec.artifacts.volume.persistentVolumeClaim is for Jobs, and spec.engine.kind is {kind}, whose pods "
            "are not ours to give claims to: use emptyDir"
        )
    if spec.template.spec:
        yield f"spec.template is for Jobs, and spec.engine.kind is {kind}: leave one of them out"
    if len(experiment.name) > _NAME_LABEL:
        yield (
            f"metadata.name is longer than {_NAME_LABEL} characters, which a label of the engine's pods can't hold: "
            "choose a shorter one"
        )


def _object(experiment: Experiment, engine: Engine) -> Iterator[str]:
    wanted = experiment.spec.engine
    if not wanted.spec:
        yield f"spec.engine.spec is empty: write the spec of the {wanted.kind} there"
        return
    size = len(msgspec.json.encode(wanted.spec))
    if size > MAX_BYTES:
        yield (
            f"spec.engine.spec has {size} bytes, and may have {MAX_BYTES}: put what is "
            "large into a ConfigMap or an image"
        )
    for path in (engine.suspend, ("shutdown",)):
        if at(wanted.spec, path) is not None:
            yield f"spec.engine.spec.{'.'.join(path)} is set by Pinnace: leave it out, and use spec.suspend"
    for path, (values, why) in engine.only.items():
        if at(wanted.spec, path) not in values:
            words = " or ".join(msgspec.json.encode(value).decode() for value in values if value is not None)
            mend = f"must be {words}" if words else "can't be used"
            yield f"spec.engine.spec.{'.'.join(path)} {mend}, because {why}: {_MEND[None in values]}"
    yield from _pods(experiment, engine)
    if engine.appended and not isinstance(wanted.spec.get(engine.appended[0], []), list):
        yield f"spec.engine.spec.{engine.appended[0]} must be a list: correct it"


def _pods(experiment: Experiment, engine: Engine) -> Iterator[str]:
    templates = list(pods(experiment))
    if engine.templates and not templates:
        places = " or ".join(".".join(path) for path in engine.templates)
        yield f"spec.engine.spec has no pod template at {places}: describe at least one pod there"
    for field, template in templates:
        try:
            pod = msgspec.convert(template, _Template).spec
        except msgspec.ValidationError as error:
            yield f"{field} can't be read as a pod template: {error}: correct it"
            continue
        if pod is None or not pod.containers:
            yield f"{field}.spec.containers is empty: describe at least one container"


class _Named(Manifest, frozen=True, kw_only=True):
    name: str = ""


class _Container(_Named, frozen=True, kw_only=True):
    env: list[_Named] | None = None
    volume_mounts: list[_Named] | None = None


class _Pod(Manifest, frozen=True, kw_only=True):
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    volumes: list[_Named] | None = None


class _Metadata(Manifest, frozen=True, kw_only=True):
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Template(Manifest, frozen=True, kw_only=True):
    """Of a pod template, what is looked at or joined with ours: definitions of engines may let anything pass there."""

    metadata: _Metadata | None = None
    spec: _Pod | None = None
