"""What a person calls an experiment or an iteration: an id, a name, or NAME/INDEX."""

from uuid import UUID

from pinnace import ids
from pinnace.cli.exits import AmbiguousName, NothingFound
from pinnace.cli.output import escaped, moment
from pinnace.client import Client, NotFound
from pinnace.records import Experiment, Iteration, Shown

_SHOWN = 5


def find_experiment(client: Client, reference: str) -> Experiment:
    """By id or by name; one that was put away only if no other has the name.

    Raises AmbiguousName with the candidates, NothingFound, ApiError.
    """
    if (identity := _as_uuid(reference)) is not None:
        return client.experiment(identity)
    found = list(client.experiments(name=reference, limit=_SHOWN + 1))
    if not found:
        found = list(client.experiments(name=reference, lifecycle=Shown.ALL, limit=_SHOWN + 1))
    if not found:
        raise NothingFound(
            f"no experiment is called {escaped(reference)}", hint="`pinnace experiments` lists those there are"
        )
    if len(found) > 1:
        candidates = "".join(
            f"\n  {one.id}  {moment(one.created_at)}  {escaped(one.project)}/{escaped(one.name)}"
            for one in found[:_SHOWN]
        )
        more = "\n  …" if len(found) > _SHOWN else ""
        raise AmbiguousName(
            f"several experiments are called {escaped(reference)}:{candidates}{more}", hint="give the id of one"
        )
    return found[0]


def find_iteration(client: Client, reference: str) -> Iteration:
    """By id, or as EXPERIMENT/INDEX. Raises as `find_experiment` does."""
    if (identity := _as_uuid(reference)) is not None:
        return client.iteration(identity)
    experiment, slash, index = reference.rpartition("/")
    if not slash or not (index.isascii() and index.isdecimal()):
        raise NothingFound(f"{escaped(reference)} is no iteration", hint="give its id, or EXPERIMENT/INDEX")
    of = find_experiment(client, experiment).id
    try:
        return client.iteration(ids.iteration_id(of, int(index)))
    except NotFound:
        # Its number may be one that the API gave, and its id any.
        for iteration in client.iterations(of, lifecycle=Shown.ALL):
            if iteration.index == int(index):
                return iteration
        raise


def find_either(client: Client, reference: str) -> Experiment | Iteration:
    """An experiment, else an iteration."""
    if (identity := _as_uuid(reference)) is not None:
        try:
            return client.experiment(identity)
        except NotFound:
            return client.iteration(identity)
    if "/" in reference:
        return find_iteration(client, reference)
    return find_experiment(client, reference)


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
