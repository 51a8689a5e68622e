"""Products are whole or absent, made once, and their leftovers are swept."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from cluster.cache import KEPT_VERSIONS, Cache, key


def write(folder: Path) -> None:
    (folder / "program").write_text("binary")


def test_a_key_follows_contents_names_and_the_executable_bit(tmp_path: Path) -> None:
    file = tmp_path / "tree/deep/file"
    file.parent.mkdir(parents=True)
    file.write_text("one")
    keys = [key("text", tmp_path / "tree")]
    file.write_text("two")
    keys.append(key("text", tmp_path / "tree"))
    file.chmod(0o755)
    keys.append(key("text", tmp_path / "tree"))
    file.rename(file.with_name("other"))
    keys.append(key("text", tmp_path / "tree"))
    assert len(set(keys)) == 4


def test_a_key_ignores_times_and_byte_code(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("pass")
    before = key(tmp_path)
    os.utime(tmp_path / "module.py", (1, 1))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/module.pyc").write_bytes(b"code")
    assert key(tmp_path) == before


def test_a_key_keeps_its_parts_apart() -> None:
    assert key("ab", "c") != key("a", "bc")


def test_a_product_is_made_once(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path), []

    def make(folder: Path) -> None:
        made.append(folder)
        write(folder)

    first, second = (cache.product("tool", "0" * 16, make) for _ in range(2))
    assert first == second
    assert (first / "program").read_text() == "binary"
    assert len(made) == 1


def test_a_maker_that_fails_leaves_neither_product_nor_workspace(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise OSError("disk full")

    cache = Cache(tmp_path)
    with pytest.raises(OSError, match="disk full"):
        cache.product("tool", "0" * 16, fail)
    assert cache.find("tool", "0" * 16) is None
    assert list((tmp_path / "tmp").iterdir()) == []


def make_and_die(root: Path) -> None:
    def die(folder: Path) -> None:
        write(folder)
        os.kill(os.getpid(), signal.SIGKILL)

    Cache(root).product("tool", "0" * 16, die)


def test_a_killed_maker_blocks_nobody_and_its_workspace_is_swept(tmp_path: Path) -> None:
    victim = multiprocessing.get_context("spawn").Process(target=make_and_die, args=(tmp_path,))
    victim.start()
    victim.join(20)
    cache = Cache(tmp_path)
    assert victim.exitcode == -signal.SIGKILL
    assert cache.find("tool", "0" * 16) is None
    assert cache.sweep() == 1
    assert list((tmp_path / "tmp").iterdir()) == []
    assert cache.product("tool", "0" * 16, write).is_dir()


def test_a_workspace_in_use_is_not_swept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.workspace("tool") as folder:
        assert cache.sweep() == 0
        assert folder.is_dir()


def test_old_versions_are_let_go_and_other_products_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.product("tool-box", "a" * 16, write)
    for number in range(KEPT_VERSIONS + 2):
        product = cache.product("tool", f"{number:016}", write)
        os.utime(product, (number, number))
    kept = [number for number in range(KEPT_VERSIONS + 2) if cache.find("tool", f"{number:016}")]
    assert len(kept) == KEPT_VERSIONS
    assert KEPT_VERSIONS + 1 in kept
    assert cache.find("tool-box", "a" * 16)
