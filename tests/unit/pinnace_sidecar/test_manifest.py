"""What a manifest may say, and that nothing else gets through."""

import contextlib
import json
import posixpath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace_sidecar.manifest import (
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    InvalidManifest,
    Member,
    Shard,
    is_manifest,
    named,
    parse,
)

PATH = "ckpt/pinnace-manifest.json"
SHA256 = "0" * 64


def manifest(*files: Any, **more: Any) -> bytes:
    return json.dumps({"files": list(files), **more}).encode()


def test_names_are_relative_to_the_manifests_own_folder() -> None:
    text = manifest({"path": "a.bin"}, {"path": "rank/1.bin", "size": 3, "sha256": SHA256}, version=1, tool="mine")
    assert parse(text, PATH) == (Member(path="ckpt/a.bin"), Member(path="ckpt/rank/1.bin", size=3, sha256=SHA256))
    assert parse(manifest({"path": "a"}), "pinnace-manifest.json") == (Member(path="a"),)


def test_a_set_may_be_the_shard_of_one_worker() -> None:
    text = manifest(
        {"path": "a"}, {"path": "b", "shared": True}, shard={"worker": 1, "workers": 2, "of": "x"}, written="1"
    )
    said = named(text, PATH)
    assert said.shard == Shard(worker=1, workers=2, of="x")
    assert [member.shared for member in said.members] == [False, True]
    assert named(manifest({"path": "a"}), PATH).shard is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("pinnace-manifest.json", True), (PATH, True), ("my-pinnace-manifest.json", False), (f"{PATH}/x", False)],
)
def test_a_manifest_is_known_by_its_name(path: str, expected: bool) -> None:
    assert is_manifest(path) is expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "Input data was truncated"),
        (b'{"files": [{"path": "a"}', "truncated"),
        (b"[]", "Expected `object`"),
        (manifest(), "length >= 1"),
        (manifest({"path": "a"}, version=2), "<= 1"),
        (manifest({"path": "a"}, shard={"worker": 0, "workers": 2}), "a shard needs `written`"),
        (manifest({"path": "a"}, shard={"worker": 2, "workers": 2}), "shard.worker is 2, and there are 2 from 0"),
        (manifest({"path": "a"}, shard={"worker": 1}), "missing required field `workers`"),
        (manifest({"path": "a"}, shard={"worker": -1, "workers": 1}), ">= 0"),
        (manifest({"path": "a"}, shard={"worker": 0, "workers": 1025}), "<= 1024"),
        (manifest({"path": ""}), "length >= 1"),
        (manifest({"path": "/etc/passwd"}), r"files\[0\].path must be relative"),
        (manifest({"path": "a"}, {"path": "../a"}), r"files\[1\].path must be relative"),
        (manifest({"path": "a/../../b"}), "must be relative"),
        (manifest({"path": "./a"}), "must be relative"),
        (manifest({"path": "a//b"}), "must be relative"),
        (manifest({"path": "a/"}), "must be relative"),
        (manifest({"path": "a\0b"}), "NUL"),
        (manifest({"path": "é" * 2049}), "more than 4096 bytes"),
        (manifest({"path": "a"}, {"path": "a"}), "named twice"),
        (manifest({"path": "pinnace-manifest.json"}), "the manifest itself"),
        (manifest({"path": "a", "size": -1}), "size"),
        (manifest({"path": "a", "size": 2**63}), "size"),
        (manifest({"path": "a", "size": "3"}), "size"),
        (manifest({"path": "a", "sha256": "ABC"}), "sha256"),
        (manifest(*({"path": str(n)} for n in range(MAX_FILES + 1))), f"length <= {MAX_FILES}"),
        (b" " * (MAX_MANIFEST_BYTES + 1), f"more than {MAX_MANIFEST_BYTES} bytes"),
        (b"[" * 100_000, "recursion|Expected `object`"),
        (b'{"files": [{"path": "\\ud800"}]}', "truncated|surrogate|no text"),
        (b'{"files": [{"path": "\xff"}]}', "UTF-8|utf-8"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(text: bytes, says: str) -> None:
    with pytest.raises(InvalidManifest, match=says):
        parse(text, PATH)


_PART = st.sampled_from(["..", ".", "", "a", "b", "...", "é", "\\", "\n", "pinnace-manifest.json", "\0"])
_FILE = st.fixed_dictionaries(
    {"path": st.lists(_PART, min_size=1, max_size=5).map("/".join)},
    optional={"size": st.integers(-1, 2**65), "sha256": st.sampled_from([SHA256, "x", ""])},
)


@given(st.lists(_FILE | st.none(), max_size=5))
def test_no_name_leads_out_of_the_folder(files: list[Any]) -> None:
    try:
        members = parse(manifest(*files), PATH)
    except InvalidManifest:
        return
    assert len({member.path for member in members}) == len(members) == len(files)
    for member in members:
        assert posixpath.normpath(member.path) == member.path
        assert member.path.startswith("ckpt/")
        assert member.path != PATH


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_set_or_invalid(text: bytes) -> None:
    with contextlib.suppress(InvalidManifest):
        assert parse(text, PATH)
