"""Groups that list what there is when no command of theirs is named: `pinnace iterations sweep` is `… list sweep`."""

from typing import Final

import click

_LIST: Final = "list"


class ListGroup(click.Group):
    """A group with a command `list`, which may be left out."""

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
