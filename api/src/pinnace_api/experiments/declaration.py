"""What a PUT says of an experiment, beside what people have edited since: pure.

The operator sends the same PUT again after each of its restarts. It must not take back what somebody has written on
the web page meanwhile, and yet a change of the Experiment's spec must get through. So a PUT is compared with the PUT
before it, and only what differs is carried over.
"""

import msgspec

from pinnace.records import Experiment
from pinnace_api.edits import difference, edited_tags


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """What a PUT says of what can change."""

    description: str = ""
    tags: dict[str, str] = {}


def declare(stored: Experiment, before: Declaration, after: Declaration) -> Experiment:
    """`stored` with what `after` says otherwise than `before`. Raises Invalid when there would be too many tags."""
    return msgspec.structs.replace(
        stored,
        description=stored.description if after.description == before.description else after.description,
        tags=edited_tags(stored.tags, difference(before.tags, after.tags)),
    )
