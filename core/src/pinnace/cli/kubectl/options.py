"""Options of kubectl's own that each command takes, and the metadata API where one is configured."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pinnace.client import Client, credentials
from pinnace.client.settings import client_settings, is_configured
from pinnace.kubectl.calls import Kubectl
from pinnace.kubectl.gathering import NOT_CONFIGURED
from pinnace.settings import SettingsError

_T = TypeVar("_T")

#: Of one request; a person waits for it.
API_TIMEOUT_S = 10.0

_KUBECTL = (
    click.option("-n", "--namespace", metavar="NAME", default="", help="Default: the context's."),
    click.option("--context", metavar="NAME", default="", help="One of the kubeconfig. Default: its current one."),
    click.option("--kubeconfig", metavar="FILE", default="", help="Default: KUBECONFIG, else ~/.kube/config."),
)
_API = (
    click.option("--api-url", metavar="URL", help="The metadata API. Default: PINNACE_API_URL."),
    click.option(
        "--token-file",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="A file with its token. Default: PINNACE_API_TOKEN, PINNACE_API_TOKEN_FILE, `pinnace login`.",
    ),
)


def with_kubectl(command: Callable[..., _T]) -> Callable[..., _T]:
    """Adds kubectl's options; the command gets what they choose as its first argument."""

    @functools.wraps(command)
    def chosen(*, namespace: str, context: str, kubeconfig: str, **options: Any) -> _T:
        return command(Kubectl(namespace=namespace, context=context, kubeconfig=kubeconfig), **options)

    return _with(_KUBECTL, chosen)


def with_api(command: Callable[..., _T]) -> Callable[..., _T]:
    """Adds the API's options; the command gets its client as the second argument, or None where no API is named."""

    @functools.wraps(command)
    def connected(kubectl: Kubectl, *, api_url: str | None, token_file: str | None, **options: Any) -> _T:
        if not is_configured(api_url):
            return command(kubectl, None, **options)
        settings = credentials.with_login(client_settings(api_url=api_url, token_file=token_file))
        with Client(settings, timeout=API_TIMEOUT_S) as client:
            return command(kubectl, client, **options)

    return _with(_API, connected)


def required(api: Client | None) -> Client:
    """Raises SettingsError where no API is named."""
    if api is None:
        raise SettingsError(NOT_CONFIGURED.partition(":")[0], hint=NOT_CONFIGURED.partition(": ")[2])
    return api


def _with(
    options: tuple[Callable[[Callable[..., _T]], Callable[..., _T]], ...], command: Callable[..., _T]
) -> Callable[..., _T]:
    for option in reversed(options):
        command = option(command)
    return command


experiment_argument = click.argument("experiment")
