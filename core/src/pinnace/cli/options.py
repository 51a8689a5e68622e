"""Options that commands share, and the API client that they are for."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import click

from pinnace.client import Client, credentials
from pinnace.client.settings import client_settings
from pinnace.records import Shown

_P = ParamSpec("_P")
_T = TypeVar("_T")


def with_client(command: Callable[Concatenate[Client, _P], _T]) -> Callable[..., _T]:
    """Adds `--api-url` and `--token-file`; the command gets the client that they make as its first argument."""

    @click.option("--api-url", metavar="URL", help="The API. Default: PINNACE_API_URL, else http://127.0.0.1:8080.")
    @click.option(
        "--token-file",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="A file with the API's token. Default: PINNACE_API_TOKEN, PINNACE_API_TOKEN_FILE, `pinnace login`.",
    )
    @functools.wraps(command)
    def connected(api_url: str | None, token_file: str | None, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        settings = client_settings(api_url=api_url, token_file=token_file)
        with Client(credentials.with_login(settings)) as client:
            return command(client, *args, **kwargs)

    return connected


json_option = click.option("--json", "as_json", is_flag=True, help="JSON lines: one object a line.")
through_api_option = click.option(
    "--through-api", is_flag=True, help="Let the API hand out the bytes, also those that lie in a store."
)
shown_option = click.option(
    "--lifecycle",
    "shown",
    type=click.Choice([shown.value for shown in Shown]),
    default=Shown.ACTIVE.value,
    show_default=True,
    callback=lambda _context, _parameter, value: Shown(value),
    help="Which to list.",
)
project_option = click.option("--project", metavar="NAME", help="Only those of this project.")
limit_option = click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="At most so many; 0: all."
)
