"""`pinnace server`: everything on this computer, no cluster. The API's own package answers."""

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
