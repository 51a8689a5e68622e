"""`pinnace reproduce`: an Experiment that does again what an iteration did."""

import click

from pinnace.cli.options import with_client
from pinnace.cli.output import escaped
from pinnace.cli.references import find_iteration
from pinnace.cli.yaml_text import yaml
from pinnace.client import Client
from pinnace.tracking.reproduction import experiment_of, remarks


@click.command
@with_client
@click.argument("iteration", metavar="ITERATION")
@click.option("--image", metavar="IMAGE", default="", help="Run this image. Needed for what ran outside of a cluster.")
def reproduce(client: Client, *, iteration: str, image: str) -> None:
    """Print an Experiment that runs ITERATION (by id or as NAME/INDEX) again: `… | kubectl create -f -`.

    It has the same command and parameters, and the same images by the digests that ran, as far as they are known; what
    is not known is said in its first lines. Secrets were hidden when it was recorded.
    """
    found = find_iteration(client, iteration)
    environment = client.environment(found.id)
    manifest = experiment_of(found, client.experiment(found.experiment_id), environment, image=image)
    for remark in remarks(found, environment, manifest):
        click.echo(f"# {escaped(remark)}")
    click.echo(yaml(manifest), nl=False)
