"""An Experiment that does again what one iteration did, out of what was recorded of it. Pure.

Of an iteration of a cluster that is its own Experiment with these parameters alone and with the images that it ran, by
digest. Of one from elsewhere it is its command in an image that somebody names.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pinnace import naming
from pinnace.errors import PinnaceError
from pinnace.records import Experiment, Iteration
from pinnace.redaction import HIDDEN

#: Names of containers and Experiments.
_MAX_NAME: Final = 63
_CONTAINER: Final = "train"
_BY_DIGEST: Final = re.compile(r"([a-z-]+://)?(?P<image>[^@]+@sha256:[0-9a-f]{64})")
#: What the CRD takes for a combination of parameters.
_MAX_PARAMETERS: Final = 32
#: Fields of a spec that say how many iterations run, and when they are stopped.
_OF_SWEEPS: Final = frozenset({"suspend", "parallelism", "maxFailedIterations", "earlyStopping"})


class NotReproducible(PinnaceError):
    """Too little was recorded."""


def experiment_of(
    iteration: Iteration, experiment: Experiment, environment: Mapping[str, Any], *, image: str = ""
) -> dict[str, Any]:
    """The manifest. `image` in place of the training container's. Raises NotReproducible."""
    recipe = environment.get(naming.RECIPE)
    spec = _as_declared(recipe, environment) if recipe else _as_commanded(environment, image)
    if recipe and image:
        spec["template"]["spec"]["containers"][0]["image"] = image
    spec["project"] = experiment.project
    spec.pop("parameters", None)
    if parameters := _combination(iteration.parameters):
        spec["parameters"] = {"list": [parameters]}
    metadata: dict[str, Any] = {"name": _name(experiment.name, iteration)}
    if recipe:
        metadata["namespace"] = recipe["namespace"]
    metadata["annotations"] = {f"{naming.GROUP}/reproduces": str(iteration.id)}
    return {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "spec": spec}


def remarks(iteration: Iteration, environment: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    """What whoever applies it should know, a line each."""
    yield f"Does again what iteration {iteration.id} did."
    git = environment.get("git") or {}
    if git.get("commit"):
        changed = ", with changes that are in environment.git.diff" if git.get("dirty") else ""
        yield f"It ran commit {git['commit']} of {git.get('remote') or 'a repository without a remote'}{changed}."
    left_out = sorted(iteration.parameters.keys() - _combination(iteration.parameters).keys())
    if left_out:
        yield f"Parameters that an Experiment can't hold are left out: {', '.join(left_out)}."
    pod = manifest["spec"]["template"]["spec"]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        if "@sha256:" not in str(container.get("image", "")):
            yield f"The image of container {container['name']} is known by its tag only, which may mean another by now."
    hidden = sorted(set(_hidden(manifest["spec"], "spec")))
    if hidden:
        yield f"Fill in what was hidden when it was recorded: {', '.join(hidden)}."


def _as_declared(recipe: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    spec = {name: value for name, value in recipe["spec"].items() if name not in _OF_SWEEPS}
    if spec.get("objective"):
        # What ended the sweep must not end the iteration that is done again.
        spec["objective"] = {name: value for name, value in spec["objective"].items() if name != "target"}
    images = environment.get(naming.RECIPE_IMAGES) or {}
    pod = dict(spec["template"]["spec"])
    for name in ("initContainers", "containers"):
        if pod.get(name):
            pod[name] = [_pinned(container, images) for container in pod[name]]
    spec["template"] = {**spec["template"], "spec": pod}
    return spec


def _pinned(container: Mapping[str, Any], images: Mapping[str, str]) -> dict[str, Any]:
    known = _BY_DIGEST.fullmatch(images.get(container["name"], ""))
    return {**container, "image": known["image"]} if known else dict(container)


def _as_commanded(environment: Mapping[str, Any], image: str) -> dict[str, Any]:
    argv = (environment.get("command") or {}).get("argv") or []
    if len(argv) < 2:
        raise NotReproducible(
            "no command was recorded of this iteration",
            hint="runs of a script are recorded with their command, those of a notebook have none",
        )
    if not image:
        raise NotReproducible(
            "this iteration ran outside of a cluster, so no image is known",
            hint="name one that has its code and packages: --image IMAGE",
        )
    return {
        "template": {"spec": {"containers": [{"name": _CONTAINER, "image": image, "command": ["python3", *argv[1:]]}]}}
    }


def _combination(parameters: Mapping[str, Any]) -> dict[str, Any]:
    scalars = {name: value for name, value in parameters.items() if isinstance(value, str | int | float | bool)}
    return dict(list(scalars.items())[:_MAX_PARAMETERS])


def _name(experiment: str, iteration: Iteration) -> str:
    tail = f"-again-{str(iteration.id)[:8]}"
    head = re.sub(r"[^a-z0-9]+", "-", experiment.lower())[: _MAX_NAME - len(tail)].strip("-")
    return f"{head or 'run'}{tail}"


def _hidden(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _hidden(part, f"{where}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _hidden(part, f"{where}[{number}]")
    elif isinstance(value, str) and HIDDEN in value:
        yield where
