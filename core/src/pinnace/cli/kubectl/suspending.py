"""`kubectl pinnace suspend` and `resume`."""

import click

from pinnace.cli.kubectl.options import experiment_argument, with_kubectl
from pinnace.kubectl.calls import Kubectl
from pinnace.kubectl.gathering import find
from pinnace.kubectl.objects import EXPERIMENTS


@click.command
@with_kubectl
@experiment_argument
def suspend(kubectl: Kubectl, *, experiment: str) -> None:
    """Stop EXPERIMENT: no further iteration starts, and the pods of those at work end and ship what they wrote.

    With `resume` each of these gets a new pod. Safe to repeat.
    """
    _set(kubectl, experiment, suspended=True)


@click.command
@with_kubectl
@experiment_argument
def resume(kubectl: Kubectl, *, experiment: str) -> None:
    """Let a suspended EXPERIMENT go on. Safe to repeat."""
    _set(kubectl, experiment, suspended=False)


def _set(kubectl: Kubectl, name: str, *, suspended: bool) -> None:
    found = find(kubectl, name)
    word = "suspended" if suspended else "running on"
    if found.spec.suspend is suspended:
        click.echo(f"experiment {name} is {word} already")
        return
    kubectl.merge(EXPERIMENTS, name, found.metadata.namespace, {"spec": {"suspend": suspended}})
    click.echo(f"experiment {name} is {word}")
