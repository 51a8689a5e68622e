"""`pinnace sidecar`: what can be asked of a sidecar's buffer. The sidecar itself answers, as a process of its own."""

import subprocess
import sys
from importlib.util import find_spec

import click

from pinnace.errors import PinnaceError

_PACKAGE = "pinnace_sidecar"


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
    if find_spec(_PACKAGE) is None:
        raise PinnaceError("the sidecar is not installed here", hint="pip install 'pinnace[sidecar]'")
    done = subprocess.run([sys.executable, "-m", _PACKAGE, "status", *arguments], check=False)
    ctx.exit(done.returncode)
