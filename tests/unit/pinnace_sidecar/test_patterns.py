"""Which paths a glob means."""

import pytest

from pinnace_sidecar.patterns import Patterns


@pytest.mark.parametrize(
    ("glob", "path", "meant"),
    [
        ("**", "a", True),
        ("**", "a/b/c", True),
        ("*.tmp", "a.tmp", True),
        ("*.tmp", "deep/down/a.tmp", True),
        ("*.tmp", "a.tmp/b", False),
        ("*.tmp", "a.tmpx", False),
        ("metrics.jsonl", "run/metrics.jsonl", True),
        ("run/*.pt", "run/a.pt", True),
        ("run/*.pt", "other/run/a.pt", False),
        ("run/*.pt", "run/sub/a.pt", False),
        ("run/**/*.pt", "run/a.pt", True),
        ("run/**/*.pt", "run/x/y/a.pt", True),
        ("run/**", "run/x/y", True),
        ("run/**", "running", False),
        ("/top", "top", True),
        ("/top", "sub/top", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].bin", "a.bin", True),
        ("[!ab].bin", "a.bin", False),
        ("[!ab].bin", "c.bin", True),
        ("[0-9].bin", "7.bin", True),
        ("[", "[", True),
        ("a.b", "axb", False),
        ("*", "new\nline", True),
    ],
)
def test_a_glob_means(glob: str, path: str, meant: bool) -> None:
    assert Patterns([glob]).match(path) is meant


def test_an_empty_list_means_nothing() -> None:
    assert not Patterns([]).match("a")


def test_any_glob_of_a_list_is_enough() -> None:
    assert Patterns(["*.a", "*.b"]).match("x.b")
