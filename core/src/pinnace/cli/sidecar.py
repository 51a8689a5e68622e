"""`pinnace sidecar`: what can be asked of a sidecar's buffer. The sidecar itself answers, as a process of its own."""

import click

from pinnace.cli.parts import run_part


@click.group()
def sidecar() -> None:
    """Look into the buffer of a sidecar, running or left behind."""


@sidecar.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def status(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Where each file of the buffer in DIR stands and why: DIR [--json] [--limit N] [--state STATE]

    Exits 0 when everything is ashore, 1 when something is on its way or quarantined, 2 when DIR holds no journal.
    """
    ctx.exit(run_part("sidecar", "status", *arguments))
