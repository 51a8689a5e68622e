"""The keys of bytes that this API writes: never used twice, and recognisable.

A key ends in `<aa>/<uuid>`. The UUID of what a sidecar uploads is the artifact's own, of version 5, and comes again
when the pod is run again. Ours are of version 8: random, with the millisecond of their making in the last 48 bits; `aa`
are random digits, so folders fill evenly. So a key of ours that nobody refers to is rubbish once its writer must be
done, and one of a sidecar may be about to be registered.
"""

import re
import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pinnace import ids
from pinnace_api.values import EPOCH

_TIME_BITS: Final = 48
_UUID: Final = r"(?P<uuid>([0-9a-f]{2})[0-9a-f]{6}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_TAIL: Final = re.compile(rf"(?:.*/)?(?P<aa>[0-9a-f]{{2}})/{_UUID}", re.DOTALL)


def new_key(prefix: str, now: datetime) -> str:
    """`<prefix>/<aa>/<uuid>`"""
    milliseconds = (now - EPOCH) // timedelta(milliseconds=1)
    number = secrets.randbits(128 - _TIME_BITS) << _TIME_BITS | milliseconds % 2**_TIME_BITS
    number = number & ~(0xF << 76) | 8 << 76  # version
    number = number & ~(0x3 << 62) | 2 << 62  # variant
    return ids.object_key(prefix, UUID(int=number))


def uuid_in(key: str) -> UUID | None:
    """The UUID that `key` ends in; None when it isn't made like ours or a sidecar's."""
    match = _TAIL.fullmatch(key)
    if match is None or not match["uuid"].startswith(match["aa"]):
        return None
    return UUID(match["uuid"])


def is_ours(key: str) -> bool:
    """Whether this API made the key."""
    uuid = uuid_in(key)
    return uuid is not None and uuid.version == 8


def made_at(key: str) -> datetime | None:
    """When this API made the key; None for a key of somebody else."""
    uuid = uuid_in(key)
    if uuid is None or uuid.version != 8:
        return None
    return EPOCH + timedelta(milliseconds=uuid.int % 2**_TIME_BITS)
