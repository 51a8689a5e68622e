"""`pinnace retention` and `pinnace holds`: what is removed by rule, and what nothing may remove."""

from typing import Final
from uuid import UUID, uuid4

import click

from pinnace.cli.groups import listing
from pinnace.cli.options import json_option, limit_option, with_client
from pinnace.cli.output import Column, escaped, moment, one_more, print_json, show
from pinnace.cli.upkeep import apply_retention
from pinnace.client import Client
from pinnace.records import (
    Hold,
    HoldKind,
    HoldWrite,
    ModelStage,
    RetentionPolicy,
    RetentionPolicyWrite,
    RetentionTarget,
)

_STAGE: Final = click.Choice([each.value for each in ModelStage], case_sensitive=False)


@click.command
@with_client
@click.option("--project", metavar="NAME", help="Those of this project too.")
@json_option
@limit_option
def policies(client: Client, *, project: str | None, as_json: bool, limit: int) -> None:
    """List the retention policies for all projects, and those of a project."""
    columns: tuple[Column[RetentionPolicy], ...] = (
        Column("NAME", lambda row: row.name),
        Column("PROJECT", lambda row: row.project or "*"),
        Column("TARGET", lambda row: row.target.value),
        Column("STAGES", lambda row: ", ".join(row.stages)),
        Column("DAYS", lambda row: "" if row.older_than_days is None else f"{row.older_than_days:g}"),
        Column("KEEP", lambda row: str(row.keep or "")),
        Column("KEEP BY", lambda row: row.keep_by),
        Column("FILTER", lambda row: row.filter),
        Column("EXPERIMENTS", lambda row: row.experiments),
        Column("ENABLED", lambda row: "yes" if row.enabled else "no"),
        Column("BY", lambda row: row.changed_by),
    )
    show(client.retention_policies(project, limit=one_more(limit)), columns, as_json=as_json, limit=limit)


@click.command("set")
@with_client
@click.argument("name")
@click.option("--project", metavar="NAME", help="For this project; without it for all.")
@click.option("--target", type=click.Choice([each.value for each in RetentionTarget]), required=True)
@click.option("--stage", "stages", type=_STAGE, multiple=True, help="Versions of models in it; can be repeated.")
@click.option("--older-than-days", type=float, metavar="N", help="Since the end; in its stage; in the trash.")
@click.option("--keep", type=int, metavar="N", help="So many iterations of an experiment stay, or versions of a model.")
@click.option("--keep-by", default="", metavar="FIELDS", help="The best ones: 'metrics.accuracy.max desc'.")
@click.option("--filter", "where", default="", metavar="TEXT", help="Only iterations that match.")
@click.option("--experiments", default="", metavar="TEXT", help="Only experiments that match.")
@click.option("--disabled", is_flag=True, help="Nothing happens by it, nor by the one for all projects of this name.")
@click.option("--description", default="", help="A few words about it.")
@json_option
def set_policy(
    client: Client,
    *,
    name: str,
    project: str | None,
    target: str,
    stages: tuple[str, ...],
    older_than_days: float | None,
    keep: int | None,
    keep_by: str,
    where: str,
    experiments: str,
    disabled: bool,
    description: str,
    as_json: bool,
) -> None:
    """Set the policy NAME. `pinnace retention apply --dry-run` shows what it will do."""
    write = RetentionPolicyWrite(
        target=RetentionTarget(target),
        stages=tuple(ModelStage(each) for each in stages),
        older_than_days=older_than_days,
        keep=keep,
        keep_by=keep_by,
        filter=where,
        experiments=experiments,
        enabled=not disabled,
        description=description,
    )
    policy = client.put_retention_policy(project, name, write)
    if as_json:
        print_json(policy)
    else:
        click.echo(f"{policy.project or '*'}/{policy.name}  {policy.target}")


@click.command("remove")
@with_client
@click.argument("name")
@click.option("--project", metavar="NAME", help="That of this project; without it, the one for all.")
def remove_policy(client: Client, *, name: str, project: str | None) -> None:
    """Take the policy NAME away."""
    client.delete_retention_policy(project, name)


@click.command
@with_client
@click.argument("project")
@click.option("--lifted", is_flag=True, help="Those too that hold no more.")
@json_option
@limit_option
def holds(client: Client, *, project: str, lifted: bool, as_json: bool, limit: int) -> None:
    """List the legal holds of PROJECT, the latest first."""
    columns: tuple[Column[Hold], ...] = (
        Column("ID", lambda row: str(row.id)),
        Column("KIND", lambda row: row.kind.value),
        Column("SUBJECT", lambda row: str(row.subject_id or row.project)),
        Column("REASON", lambda row: row.reason),
        Column("SET", lambda row: moment(row.created_at)),
        Column("BY", lambda row: row.created_by),
        Column("LIFTED", lambda row: moment(row.lifted_at)),
        Column("LIFTED BY", lambda row: row.lifted_by),
    )
    show(client.holds(project, lifted=lifted, limit=one_more(limit)), columns, as_json=as_json, limit=limit)


@click.command("set")
@with_client
@click.argument("project")
@click.argument("kind", type=click.Choice([each.value for each in HoldKind]))
@click.argument("subject", type=click.UUID, required=False)
@click.option("--reason", required=True, help="Why; it is kept.")
@json_option
def set_hold(client: Client, *, project: str, kind: str, subject: UUID | None, reason: str, as_json: bool) -> None:
    """Let nothing of SUBJECT (an id; none for the project) be removed until the hold is lifted."""
    hold = client.put_hold(project, uuid4(), HoldWrite(kind=HoldKind(kind), subject_id=subject, reason=reason))
    if as_json:
        print_json(hold)
    else:
        click.echo(f"{hold.id}  {hold.kind}  {escaped(hold.reason)}")


@click.command
@with_client
@click.argument("project")
@click.argument("hold", type=click.UUID)
@click.option("--reason", required=True, help="Why; it is kept.")
def lift(client: Client, *, project: str, hold: UUID, reason: str) -> None:
    """Lift HOLD (its id)."""
    client.lift_hold(project, hold, reason)


RETENTION: Final = listing(policies, "retention", "Retention policies.")
for _command in (set_policy, remove_policy, apply_retention):
    RETENTION.add_command(_command)
HOLDS: Final = listing(holds, "holds", "Legal holds.")
for _command in (set_hold, lift):
    HOLDS.add_command(_command)
