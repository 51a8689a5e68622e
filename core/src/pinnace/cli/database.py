"""`pinnace db`: what is done to the metadata API's database itself. The API's own package answers."""

import click

from pinnace.cli.parts import run_part


@click.group()
def db() -> None:
    """Work on the database of a metadata API."""


@db.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def copy(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Copy all rows into another database: --from URL --to URL [--dry-run] [--json]

    From SQLite to PostgreSQL and back, with every id; `--help` says more. Exits 0 when both are equal, 1 when the
    target holds other rows, 2 when the command line is wrong, 3 when a database can't be used.
    """
    ctx.exit(run_part("api", "db", "copy", *arguments))
