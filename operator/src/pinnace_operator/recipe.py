"""What is needed to run an iteration of a cluster again, as its `environment` at the API keeps it. Pure.

`pinnace reproduce` makes an Experiment of it: core's cli/reproduce.py.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from pinnace.naming import RECIPE, RECIPE_IMAGES
from pinnace.redaction import HIDDEN, hidden_arguments, hidden_in, is_secret_name
from pinnace_operator.experiment import Experiment


def recipe(experiment: Experiment) -> dict[str, Any]:
    """The Experiment as it was declared; values that look like secrets are hidden."""
    spec: dict[str, Any] = _said(msgspec.to_builtins(experiment.spec))
    template, engine = experiment.spec.template, experiment.spec.engine
    # As the user wrote it, with what Kubernetes means by an empty value.
    if engine.spec is None:
        spec.pop("engine", None)
        spec["template"] = {**spec.get("template", {}), "spec": _shown(template.spec)}
    else:
        spec.pop("template", None)
        spec["engine"] = {**spec["engine"], "spec": _shown_anywhere(engine.spec)}
    return {RECIPE: {"name": experiment.name, "namespace": experiment.namespace, "spec": spec}}


def images(found: Mapping[str, str]) -> dict[str, Any]:
    """By container, with digests, as they ran."""
    return {RECIPE_IMAGES: dict(found)}


def _said(value: Any) -> Any:
    """Without what is empty, which says nothing in an Experiment."""
    if isinstance(value, dict):
        return {name: said for name, part in value.items() if (said := _said(part)) not in (None, {})}
    return value


def _shown_anywhere(value: Any) -> Any:
    """Whatever has containers in it, at any depth: an environment is known by its name."""
    if isinstance(value, list):
        return [_shown_anywhere(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    parts = {name: part if name in _HIDING else _shown_anywhere(part) for name, part in value.items()}
    return _shown_container(parts)


_HIDING = ("env", "command", "args")


def _shown(pod: Mapping[str, Any]) -> dict[str, Any]:
    lists = {
        name: [_shown_container(container) for container in pod[name]]
        for name in ("initContainers", "containers")
        if pod.get(name)
    }
    return {**pod, **lists}


def _shown_container(container: Mapping[str, Any]) -> dict[str, Any]:
    """Nobody has looked yet whether Kubernetes takes it: numbers among arguments are common, and refused there."""
    shown = dict(container)
    if container.get("env"):
        shown["env"] = [_shown_variable(variable) for variable in _listed(container["env"])]
    for name in ("command", "args"):
        if container.get(name):
            shown[name] = hidden_arguments([str(argument) for argument in _listed(container[name])])
    return shown


def _listed(value: Any) -> list[Any]:
    """What is no list is shown in no way."""
    return value if isinstance(value, list) else [HIDDEN]


def _shown_variable(variable: Any) -> Any:
    if not isinstance(variable, Mapping):
        return HIDDEN
    if "value" not in variable:
        return dict(variable)
    name, value = str(variable.get("name", "")), str(variable["value"])
    return {**variable, "value": HIDDEN if value and is_secret_name(name) else hidden_in(value)}
