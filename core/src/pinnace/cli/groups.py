"""Groups of commands: those of a program, and those that list what there is when no command of theirs is named."""

from typing import Any, Final

import click

from pinnace.cli.exits import exit_for
from pinnace.cli.output import escaped
from pinnace.errors import PinnaceError

_LIST: Final = "list"


class Commands(click.Group):
    """A group whose commands end PinnaceErrors with a message, a hint and the documented exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PinnaceError as error:
            # By lines, because an error may list candidates; each line may quote what others named.
            message = "\n".join(map(escaped, str(error.args[0]).split("\n")))
            click.echo(f"Error: {message}", err=True)
            if error.hint:
                click.echo(f"Hint: {escaped(error.hint)}", err=True)
            ctx.exit(exit_for(error))


class ListGroup(click.Group):
    """A group with a command `list`, which may be left out: `pinnace iterations sweep` is `… list sweep`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        asks_for_help = bool(args) and args[0] in ctx.help_option_names
        if not asks_for_help and (not args or args[0] not in self.commands):
            args = [_LIST, *args]
        return super().parse_args(ctx, args)


def listing(list_: click.Command, name: str, help_: str) -> ListGroup:
    """The group `name` around its listing command."""
    group = ListGroup(name, help=f"{help_} Without a command: list, whose options and arguments then follow.")
    group.add_command(list_, _LIST)
    return group
