"""`kubectl pinnace`: what stands where, seen from the cluster. The same verbs as `pinnace kubectl`."""

import click

from pinnace.cli.exits import explanation
from pinnace.cli.groups import Commands
from pinnace.cli.kubectl.artifacts import artifacts
from pinnace.cli.kubectl.logs import logs
from pinnace.cli.kubectl.status import status
from pinnace.cli.kubectl.suspending import resume, suspend
from pinnace.cli.kubectl.verify import verify


@click.group("kubectl", cls=Commands, epilog=explanation(), context_settings={"help_option_names": ["-h", "--help"]})
def kubectl() -> None:
    """Look at Experiments of a cluster, stop them and let them go on.

    An Experiment is called by its name, as in `kubectl get experiments`. Cluster, user and namespace are those of
    kubectl. What pods ship and what is recorded comes from the metadata API: PINNACE_API_URL and PINNACE_API_TOKEN, or
    --api-url and --token-file.
    """


for command in (status, logs, artifacts, suspend, resume, verify):
    kubectl.add_command(command)


def plugin() -> None:
    """The program `kubectl-pinnace`, which kubectl runs for `kubectl pinnace`."""
    kubectl(prog_name="kubectl pinnace")
