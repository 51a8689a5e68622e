"""`kubectl pinnace artifacts`: what was recorded of an Experiment of the cluster."""

import click

from pinnace.cli.kubectl.options import experiment_argument, required, with_api, with_kubectl
from pinnace.cli.listings import ARTIFACT
from pinnace.cli.options import json_option, limit_option
from pinnace.cli.output import one_more, show
from pinnace.client import Client
from pinnace.ids import iteration_id
from pinnace.kubectl.calls import Kubectl
from pinnace.kubectl.gathering import find


@click.command
@with_kubectl
@with_api
@experiment_argument
@click.argument("iteration", type=click.IntRange(min=0), required=False)
@json_option
@limit_option
def artifacts(
    kubectl: Kubectl, api: Client | None, *, experiment: str, iteration: int | None, as_json: bool, limit: int
) -> None:
    """List what was recorded of EXPERIMENT, or of its ITERATION (an index). Needs the metadata API.

    The same as `pinnace artifacts`, but the name means the Experiment of this namespace that is there now.
    """
    client = required(api)
    identity = find(kubectl, experiment).id
    found = (
        client.experiment_artifacts(identity, limit=one_more(limit))
        if iteration is None
        else client.iteration_artifacts(iteration_id(identity, iteration), limit=one_more(limit))
    )
    show(found, ARTIFACT, as_json=as_json, limit=limit)
