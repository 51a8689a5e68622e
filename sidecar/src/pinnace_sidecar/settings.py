"""What has a good value already: how much is done at a time and in what pieces. `PINNACE_TUNING_<FIELD>`.

What a pod's sidecar is told about its pod is pinnace.settings.SidecarSettings, which the operator writes too.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pinnace.stores.store import MAX_PUT_BYTES, MIN_PART_BYTES

PREFIX: Final = "PINNACE_TUNING_"

_MIB: Final = 2**20


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults hold the sidecar under 64 MiB of memory and keep two cores busy."""

    #: Operations at the store at a time.
    upload_threads: Annotated[int, Meta(ge=1, le=64)] = 4
    #: Files that are not copied yet and held in memory at a time, half a KiB for each; others wait on the volume.
    watched_files: Annotated[int, Meta(ge=1, le=10**6)] = 8_192
    #: Copies in the buffer at a time, whose names are held in memory.
    buffered_files: Annotated[int, Meta(ge=1, le=10**6)] = 8_192
    #: Files copied into the buffer at a time.
    copy_threads: Annotated[int, Meta(ge=1, le=16)] = 2
    #: From this size on a file can be sent in parts.
    multipart_bytes: Annotated[int, Meta(ge=MIN_PART_BYTES, le=2**32)] = 32 * _MIB
    #: Size of a part, unless the file would need too many of them.
    part_bytes: Annotated[int, Meta(ge=MIN_PART_BYTES, le=2**32)] = 16 * _MIB
    #: Up to this size it is sent whole nevertheless, where the store wants the SHA-256 of each part, unless that broke
    #: off once.
    whole_bytes: Annotated[int, Meta(ge=0, le=MAX_PUT_BYTES)] = MAX_PUT_BYTES

    #: While this much is written to the volume in a second, files of this size and more are not copied ...
    much_bytes: Annotated[int, Meta(ge=1)] = 4 * _MIB
    #: ... for so long after their last change at most. 0: they don't wait for writers.
    patience_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0

    #: From this size on a file is compressed, where that is wanted.
    compress_bytes: Annotated[int, Meta(ge=1)] = 4 * 2**10
    #: From this size on the API is asked whether the experiment has a file's content already.
    share_bytes: Annotated[int, Meta(ge=1)] = 64 * 2**10

    def part_size(self, size: int, max_parts: int) -> int:
        """In which pieces a file of `size` bytes is digested and sent; `size` or more: in one."""
        if size < self.multipart_bytes:
            return max(size, 1)
        smallest = -(-size // max_parts)
        # In whole MiB, so that a person recognises the size.
        return self.part_bytes if smallest <= self.part_bytes else -(-smallest // _MIB) * _MIB
