"""`kubectl pinnace logs`: the log of an iteration's pod, without looking for its name."""

from collections.abc import Sequence

import click

from pinnace.cli.exits import AmbiguousName, NothingFound
from pinnace.cli.kubectl.options import experiment_argument, with_kubectl
from pinnace.kubectl.calls import Kubectl
from pinnace.kubectl.gathering import find, pods_of
from pinnace.kubectl.objects import Pod
from pinnace.naming import SIDECAR_CONTAINER

_SHOWN = 10


@click.command
@with_kubectl
@experiment_argument
@click.argument("iteration", type=click.IntRange(min=0), required=False)
@click.option("-c", "--container", metavar="NAME", help="Default: the training's first one.")
@click.option("--sidecar", is_flag=True, help="The sidecar's log instead.")
@click.option("--worker", metavar="N", type=click.IntRange(min=0), default=0, help="Of an iteration with several.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("-p", "--previous", is_flag=True, help="The container's log before its last restart.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--tail", metavar="N", type=click.IntRange(min=0), help="The last N lines. Default: all there are.")
def logs(
    kubectl: Kubectl,
    *,
    experiment: str,
    iteration: int | None,
    container: str | None,
    sidecar: bool,
    worker: int,
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail: int | None,
) -> None:
    """Write the log of the newest pod of EXPERIMENT's ITERATION (an index), as `kubectl logs` does.

    The index may be left out where only one iteration has pods, or only one is at work.
    """
    if container and sidecar:
        raise click.UsageError("--container and --sidecar can't both be meant")
    found = find(kubectl, experiment)
    pod = newest(_of_iteration(pods_of(kubectl, found), experiment, iteration), worker)
    click.echo(f"pod {pod.metadata.name}", err=True)
    arguments = [
        flag
        for flag, wanted in (("--follow", follow), ("--previous", previous), ("--timestamps", timestamps))
        if wanted
    ]
    if tail is not None:
        arguments.append(f"--tail={tail}")
    chosen = SIDECAR_CONTAINER if sidecar else container or pod.container
    code = kubectl.logs(pod.metadata.name, found.metadata.namespace, chosen, arguments)
    if code:
        raise NothingFound(f"there is no such log of pod {pod.metadata.name}", hint="kubectl said above why")


def newest(pods: Sequence[Pod], worker: int) -> Pod:
    """Of this worker, where there are several. Raises NothingFound."""
    mine = [pod for pod in pods if (pod.worker or 0) == worker and not pod.is_rescue]
    if not mine:
        raise NothingFound(f"no pod is worker {worker} of it", hint="`kubectl pinnace status` shows the pods there are")
    return max(mine, key=lambda pod: (str(pod.metadata.creation_timestamp or ""), pod.metadata.name))


def _of_iteration(pods: Sequence[Pod], experiment: str, wanted: int | None) -> Sequence[Pod]:
    if wanted is None:
        candidates = {pod.index for pod in pods if not pod.ended} or {pod.index for pod in pods}
        if len(candidates) > 1:
            some = ", ".join(map(str, sorted(index for index in candidates if index is not None)[:_SHOWN]))
            more = ", …" if len(candidates) > _SHOWN else ""
            raise AmbiguousName(
                f"several iterations of {experiment} have pods: {some}{more}",
                hint=f"name one: kubectl pinnace logs {experiment} INDEX",
            )
        wanted = next(iter(candidates), None)
    found = [pod for pod in pods if pod.index == wanted]
    if not found:
        which = experiment if wanted is None else f"iteration {wanted} of {experiment}"
        raise NothingFound(f"no pod of {which} is there, or is there any more", hint="see kubectl pinnace status")
    return found
