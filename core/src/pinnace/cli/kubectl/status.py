"""`kubectl pinnace status`: what stands where, and what is stuck and why."""

from datetime import UTC, datetime

import click

from pinnace.cli.kubectl.options import experiment_argument, with_api, with_kubectl
from pinnace.cli.kubectl.tree import lines
from pinnace.cli.output import print_json
from pinnace.client import Client
from pinnace.kubectl.calls import Kubectl
from pinnace.kubectl.gathering import gather


@click.command
@with_kubectl
@with_api
@experiment_argument
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with every iteration.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="At most so many iterations; 0: all."
)
def status(kubectl: Kubectl, api: Client | None, *, experiment: str, as_json: bool, limit: int) -> None:
    """Show EXPERIMENT: its conditions, and a tree of iterations with parameters, pods, and the pods' files by state.

    `!` stands before what keeps something from going on. Where there are more iterations than --limit, those are shown
    that need a person, then those at work. Without the metadata API the files of running pods are not known.
    """
    found = gather(kubectl, experiment, api)
    if as_json:
        print_json(found)
        return
    for line in lines(found, datetime.now(UTC), limit=limit):
        click.echo(line)
