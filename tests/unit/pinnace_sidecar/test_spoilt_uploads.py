"""An upload that the store will never complete: it is given up, and another one begun."""

from collections.abc import Sequence

import pytest

from pinnace.digests import ContentDigest
from pinnace.stores.memory import MemoryStore
from pinnace.stores.store import CorruptContent, Multipart, Part, Stored
from pinnace_sidecar.crash import CrashPoint, never
from support.pod import PART_BYTES, Crashed, Pod, paths

BIG = b"0123456789" * (PART_BYTES // 4)


class SpoilingStore(MemoryStore):
    """Its first uploads can't be completed, whatever parts they have."""

    def __init__(self, spoilt: int) -> None:
        super().__init__(min_part_bytes=1)
        self.left = spoilt
        self.spoilt: set[str] = set()

    def create_multipart(self, key: str) -> Multipart:
        upload = super().create_multipart(key)
        if self.left:
            self.left -= 1
            self.spoilt.add(upload.upload_id)
        return upload

    def complete_multipart(
        self, upload: Multipart, parts: Sequence[Part], digest: ContentDigest, *, replace: bool = True
    ) -> Stored:
        if upload.upload_id in self.spoilt:
            raise CorruptContent("the checksum does not match", code="BadDigest", key=upload.key)
        return super().complete_multipart(upload, parts, digest, replace=replace)


@pytest.mark.parametrize("spoilt", [1, 3])
def test_the_file_comes_ashore_by_another_upload_and_nothing_of_the_first_is_left(pod: Pod, spoilt: int) -> None:
    store = pod.other_store = SpoilingStore(spoilt)
    pod.write("big", BIG)
    pod.start()
    pod.run_for(60)
    assert paths(pod) == ["big"]
    assert len(store.spoilt) == spoilt
    assert store.contents() == {pod.key("big", BIG): BIG}
    assert store.uploads() == []


def test_a_process_that_ends_before_it_could_give_the_upload_up_leaves_that_to_the_next(pod: Pod) -> None:
    store = pod.other_store = SpoilingStore(1)
    pod.write("big", BIG)
    pod.crash_at(CrashPoint.PART_JOURNALED, 2)
    pod.start()
    with pytest.raises(Crashed):
        pod.run_for(60)
    pod.stop()
    pod.crash = never
    pod.start()
    pod.run_for(60)
    assert paths(pod) == ["big"]
    assert store.uploads() == []
