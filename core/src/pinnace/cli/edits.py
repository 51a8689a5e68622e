"""`pinnace projects|experiments|iterations archive|trash|restore|tag|note`: the edits that all three have."""

from collections.abc import Callable
from typing import Any

import click

from pinnace.cli.options import json_option, with_client
from pinnace.cli.output import assignments, escaped, print_json
from pinnace.cli.references import find_experiment, find_iteration
from pinnace.client import Client
from pinnace.records import (
    Experiment,
    ExperimentPatch,
    Iteration,
    IterationPatch,
    Lifecycle,
    Project,
    ProjectPatch,
)

Thing = Project | Experiment | Iteration
#: Gives the thing that a reference means what the fields say.
Edit = Callable[[Client, str, dict[str, Any]], Thing]


def edit_project(client: Client, reference: str, fields: dict[str, Any]) -> Project:
    return client.patch_project(reference, ProjectPatch(**_described(fields)))


def edit_experiment(client: Client, reference: str, fields: dict[str, Any]) -> Experiment:
    return client.patch_experiment(find_experiment(client, reference).id, ExperimentPatch(**_described(fields)))


def edit_iteration(client: Client, reference: str, fields: dict[str, Any]) -> Iteration:
    return client.patch_iteration(find_iteration(client, reference).id, IterationPatch(**fields))


def add_edits(group: click.Group, edit: Edit, metavar: str) -> None:
    """Give `group` the commands that edit one thing of its kind, which is called as `metavar` says."""
    for name, lifecycle, help_ in (
        ("archive", Lifecycle.ARCHIVED, "Leave it out of lists."),
        ("trash", Lifecycle.TRASHED, "Put it, with all that is in it, into the trash; nothing is deleted."),
        ("restore", Lifecycle.ACTIVE, "Take it back from the archive or the trash."),
    ):
        group.add_command(_lifecycle_command(name, lifecycle, help_, edit, metavar))
    group.add_command(_tag_command(edit, metavar))
    group.add_command(_note_command(edit, metavar))


def _lifecycle_command(name: str, lifecycle: Lifecycle, help_: str, edit: Edit, metavar: str) -> click.Command:
    @click.command(name, help=help_)
    @with_client
    @click.argument("reference", metavar=metavar)
    @json_option
    def command(client: Client, *, reference: str, as_json: bool) -> None:
        _show(edit(client, reference, {"lifecycle": lifecycle}), as_json=as_json)

    return command


def _tag_command(edit: Edit, metavar: str) -> click.Command:
    @click.command("tag")
    @with_client
    @click.argument("reference", metavar=metavar)
    @click.argument("tags", metavar="[KEY|KEY=VALUE]...", nargs=-1)
    @click.option("--remove", "removed", metavar="KEY", multiple=True, help="Take this tag away. May be given again.")
    @json_option
    def command(
        client: Client, *, reference: str, tags: tuple[str, ...], removed: tuple[str, ...], as_json: bool
    ) -> None:
        """Give it tags, or take them away; the others stay."""
        patch: dict[str, str | None] = dict.fromkeys(removed)
        for tag in tags:
            key, _, value = tag.partition("=")
            if not key:
                raise click.BadParameter(f"{tag!r} has no key", param_hint="TAGS")
            patch[key] = value
        if not patch:
            raise click.UsageError("give at least one KEY, KEY=VALUE or --remove KEY")
        _show(edit(client, reference, {"tags": patch}), as_json=as_json)

    return command


def _note_command(edit: Edit, metavar: str) -> click.Command:
    @click.command("note")
    @with_client
    @click.argument("reference", metavar=metavar)
    @click.argument("text")
    @json_option
    def command(client: Client, *, reference: str, text: str, as_json: bool) -> None:
        """Write TEXT as its notes (a project's and an experiment's description); "" takes them away."""
        _show(edit(client, reference, {"notes": text}), as_json=as_json)

    return command


def _described(fields: dict[str, Any]) -> dict[str, Any]:
    return {"description" if name == "notes" else name: value for name, value in fields.items()}


def _show(thing: Thing, *, as_json: bool) -> None:
    if as_json:
        print_json(thing)
        return
    name = thing.name or f"iteration {thing.index}" if isinstance(thing, Iteration) else thing.name
    tags = f"  tags: {escaped(assignments(thing.tags))}" if thing.tags else ""
    click.echo(f"{escaped(name)}  {thing.id}  {thing.lifecycle.value}{tags}")
