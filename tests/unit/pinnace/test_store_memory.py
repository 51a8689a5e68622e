"""The faults that the store in memory makes on demand; its contract is tests/contract/test_stores.py."""

from collections.abc import Callable

import pytest

from pinnace.stores.memory import MemoryStore
from pinnace.stores.store import StoreRefused, StoreUnreachable
from support.store_content import content, put_bytes

AWAY = StoreUnreachable("away")


def test_a_fault_happens_as_often_as_it_was_ordered_and_instead_of_the_call() -> None:
    store = MemoryStore()
    store.fail_next(AWAY, times=2)
    for _ in range(2):
        with pytest.raises(StoreUnreachable):
            put_bytes(store, "key", b"content")
        assert store.contents() == {}
    put_bytes(store, "key", b"content")
    assert store.contents() == {"key": b"content"}


def test_a_fault_after_the_call_is_an_answer_that_got_lost() -> None:
    store = MemoryStore()
    store.fail_next(AWAY, after=True)
    with pytest.raises(StoreUnreachable):
        put_bytes(store, "key", b"content")
    assert store.contents() == {"key": b"content"}


def test_faults_follow_each_other_in_the_order_of_their_making() -> None:
    store = MemoryStore()
    store.fail_next(AWAY)
    store.fail_next(StoreRefused("no", code="AccessDenied"))
    with pytest.raises(StoreUnreachable):
        store.head("key")
    with pytest.raises(StoreRefused):
        store.head("key")
    assert store.head("key") is None


def test_every_method_can_fail_before_and_after() -> None:
    store = MemoryStore(min_part_bytes=1)
    with content(b"abcdef", part_size=3) as given:
        upload = store.create_multipart("large")
        parts = [store.put_part(upload, n, given.file, digest) for n, digest in enumerate(given.digest.parts, 1)]
        calls: list[Callable[[], object]] = [
            lambda: store.put("key", given.file, given.whole),
            lambda: store.head("key"),
            lambda: store.delete("key"),
            store.list,
            lambda: store.create_multipart("other"),
            lambda: store.put_part(upload, 1, given.file, given.digest.parts[0]),
            lambda: store.list_parts(upload),
            lambda: store.list_multiparts(""),
            lambda: store.complete_multipart(upload, parts, given.digest),
            lambda: store.abort_multipart(upload),
        ]
        for call in calls:
            for after in (False, True):
                store.fail_next(AWAY, after=after)
                with pytest.raises(StoreUnreachable):
                    call()
        assert store.contents() == {"large": b"abcdef"}
        assert [upload.key for upload in store.uploads()] == ["other"]
