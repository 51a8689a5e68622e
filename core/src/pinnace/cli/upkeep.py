"""What is done to artifacts' bytes where the API's settings are. The API's own package answers."""

import click

from pinnace.cli.parts import run_part


def _passed_on(name: str, command: str, text: str) -> click.Command:
    @click.command(
        name,
        help=text,
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        add_help_option=False,
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def run(ctx: click.Context, arguments: tuple[str, ...]) -> None:
        ctx.exit(run_part("api", "artifacts", command, *arguments))

    return run


migrate_artifacts = _passed_on(
    "migrate-artifacts",
    "migrate",
    "Move artifacts' bytes: --to inline|filesystem|s3 [--dry-run] [--json]. Run it where the API runs.",
)
gc = _passed_on(
    "gc", "gc", "Remove bytes that nobody needs: [--grace-hours N] [--dry-run] [--json]. Run it where the API runs."
)
verify = _passed_on(
    "verify",
    "verify",
    "Compare artifacts' bytes with their digests: [--sizes-only] [--json]. Run it where the API runs.",
)
apply_retention = _passed_on(
    "apply",
    "retention",
    "Remove what the policies say: [--project NAME] [--dry-run] [--each] [--json]. Run it where the API runs.",
)
export_files = _passed_on(
    "files", "export", "Copy artifacts into a folder for people: DIR [--json]. Run it where the API runs."
)
