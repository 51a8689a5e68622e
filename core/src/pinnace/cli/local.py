"""Everything on this computer, no cluster: `pinnace server` and `pinnace watch`. Their own packages answer."""

import click

from pinnace.cli.parts import become_part

_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


@click.command(context_settings=_PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def server(arguments: tuple[str, ...]) -> None:
    """Serve the API on this computer: [--data DIR] [--config FILE] [--port PORT] [--print-config]

    Database and artifacts lie in DIR (~/.local/share/pinnace); `--help` says more. Exits 0 when it is asked to end, 2
    when a setting is wrong, 3 when the start failed.
    """
    become_part("api", "server", *arguments)


@click.command(context_settings=_PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def watch(arguments: tuple[str, ...]) -> None:
    """Ship and record every file of a folder until Ctrl-C: DIR --project NAME --experiment NAME

    What a sidecar does for a pod; `--help` says more. Exits 0 when everything is recorded, 1 when something is not, 2
    when the command line or a setting is wrong, 4 when the API refuses.
    """
    become_part("sidecar", "watch", *arguments)
