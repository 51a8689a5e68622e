"""The pod's writers: what a training container does to its volume, each writer a generator that yields its pauses."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator

from pinnace.naming import MANIFEST_NAME
from support.simulation.filesystem import FileSystem, Inode
from support.simulation.machine import Machine
from support.simulation.volume import FOLDERS, ROOT

#: Below, at and above the size of a part, also several parts.
_SIZES = (0, 1, 30, 63, 64, 65, 128, 200)
METRICS = "metrics.jsonl"

Writer = Iterator[float]


class Training:
    """`history` is the ledger: every content that a path ever showed. `over_at` is when the writers had ended."""

    def __init__(
        self, machine: Machine, system: FileSystem, happened: Callable[[str, str], None], *, settle: float
    ) -> None:
        self._machine = machine
        self._rng = machine.rng
        self._system = system
        self._happened = happened
        self._settle = settle
        self._running: dict[int, tuple[str, Writer]] = {}
        self._begun: set[int] = set()
        self._numbers = 0
        self.synced_lines = False
        self.history: dict[str, set[bytes]] = {}
        #: Files whose writer has not said its last word; when each got its content, if it never had that before.
        self.unfinished: set[str] = set()
        self.written_at: dict[str, float] = {}
        #: Steps of the metric lines written whole, and those that may be missing: their file was rotated or cut.
        self.lines: Counter[int] = Counter()
        self.rotated: set[int] = set()
        #: By manifest, the files of the sets that were written whole and not touched since, with their SHA-256.
        self.sets: dict[str, dict[str, str]] = {}
        self.over_at: float | None = None
        #: How probable it is that somebody writes to a file in the midst of its being read.
        self.meddling = 0.0
        #: When the power was cut last.
        self.cut_at = -1.0
        #: Manifests written again with the words of an earlier one, which is what was recorded.
        self.repeated: set[str] = set()

    # --- which writers there are

    def begin(self, *, files: int, metrics: bool, sets: bool, span: float, synced_lines: bool) -> None:
        """`synced_lines`: what goes to metric files is synced at once, so that a power cut makes none shorter."""
        self.synced_lines = synced_lines
        kinds = [
            self._plain,
            self._appending,
            self._rewriting,
            self._renaming,
            self._marking,
            self._deleting,
            self._returning,
        ]
        for number in range(files):
            folder = self._rng.choice(FOLDERS)
            kind = self._rng.choice(kinds)
            path = f"{folder}/{kind.__name__[1:]}-{number}" if folder else f"{kind.__name__[1:]}-{number}"
            self._start(path, kind(path), self._rng.uniform(0, span))
        if metrics:
            self._start(METRICS, self._measuring(METRICS, rotates=self._rng.random() < 0.3), self._rng.uniform(0, 2))

        if sets:
            for folder in self._rng.sample(FOLDERS, k=self._rng.randrange(1, 3)):
                manifest = f"{folder}/{MANIFEST_NAME}" if folder else MANIFEST_NAME
                self._start(manifest, self._gathering(manifest), self._rng.uniform(0, span))

    def _start(self, path: str, writer: Writer, at: float) -> None:
        self._numbers += 1
        number = self._numbers
        self._running[number] = path, writer
        self._machine.later(at, f"writer of {path}", lambda: self._go_on(number))

    def _go_on(self, number: int) -> None:
        if number not in self._running:
            return
        self._begun.add(number)
        path, writer = self._running[number]
        pause = next(writer, None)
        if pause is None:
            del self._running[number]
        else:
            self._machine.later(pause, f"writer of {path}", lambda: self._go_on(number))

    @property
    def running(self) -> bool:
        return bool(self._running)

    def meddle(self, path: str) -> None:
        """A file is being read: somebody may rewrite it in place, and is done with it then."""
        inode = self._system.names.get(f"{ROOT}/{path}")
        if not (self.running and path != METRICS and inode and inode.data and self._machine.chance(self.meddling)):
            return
        done = path not in self.unfinished
        inode.write(0, bytes([inode.data[0] ^ 1]))
        inode.write(len(inode.data) - 1, bytes([inode.data[-1] ^ 1]))
        self._changed(path, inode, "meddle with")
        if done:
            self.unfinished.discard(path)

    def is_open(self, path: str) -> bool:
        """Whether a living writer has the file open."""
        return path in self.unfinished and any(
            number in self._begun and path == name for number, (name, _) in self._running.items()
        )

    def stop(self) -> None:
        """All writers are gone, in the midst of whatever they were doing."""
        self._running.clear()
        self.over_at = self._machine.elapsed
        self._machine.note("--- the writers have ended;", len(self.unfinished), "files unfinished")

    def power_cut(self) -> None:
        """Files may show older contents, or torn ones; writers begun are gone."""
        self.cut_at = self._machine.elapsed
        for path in self.files():
            self._remember(path)
        self.sets.clear()
        self._running = {number: writer for number, writer in self._running.items() if number not in self._begun}

    def files(self) -> dict[str, Inode]:
        """What lies on the volume, by path."""
        return {path[len(ROOT) + 1 :]: inode for path, inode in self._system.names.items()}

    # --- the writers

    def _plain(self, path: str) -> Writer:
        yield from self._write(path, self._content(path), pause=0.3)
        self._finish(path)

    def _appending(self, path: str) -> Writer:
        for _ in range(self._rng.randrange(2, 6)):
            self._append(path, self._content(path))
            yield self._rng.uniform(0.1, 1.5 * self._settle)
        self._finish(path)

    def _rewriting(self, path: str) -> Writer:
        content = self._content(path)
        yield from self._write(path, content, pause=0.3)
        self._finish(path)
        for _ in range(self._rng.randrange(1, 4)):
            yield self._rng.uniform(0.1, 4 * self._settle)
            times = self._inode(path).mtime_ns
            if self._rng.random() < 0.5:
                content = bytes(self._rng.choices(b"xyz", k=len(content)))
                yield from self._overwrite(path, content)
            else:
                content = self._content(path)
                self._truncate(path)
                yield self._rng.uniform(0, 0.5)
                yield from self._write(path, content, pause=0.2)
            self._finish(path)
            if self._rng.random() < 0.2:
                self._touch(path, times)

    def _renaming(self, path: str) -> Writer:
        for _ in range(self._rng.randrange(1, 3)):
            yield from self._write(f"{path}.tmp", self._content(path), pause=1.5 * self._settle)
            self._finish(f"{path}.tmp")
            self._rename(f"{path}.tmp", path)
            yield self._rng.uniform(0.1, 3 * self._settle)

    def _marking(self, path: str) -> Writer:
        for _ in range(self._rng.randrange(1, 3)):
            yield from self._write(path, self._content(path), pause=1.5 * self._settle)
            self._finish(path)
            self._append(f"{path}.done", b"")
            yield self._rng.uniform(0.1, 3 * self._settle)

    def _deleting(self, path: str) -> Writer:
        yield from self._write(path, self._content(path), pause=0.3)
        self._finish(path)
        yield self._rng.uniform(0, 6 * self._settle)
        self._unlink(path)
        if self._rng.random() < 0.3:
            yield self._rng.uniform(0, 2 * self._settle)
            yield from self._write(path, self._content(path), pause=0.1)
            self._finish(path)

    def _returning(self, path: str) -> Writer:
        """The same content again, with another between, maybe."""
        first = self._content(path)
        for content in (first, self._content(path), first):
            yield from self._write(path, content, pause=0.1)
            self._finish(path)
            yield self._rng.uniform(0.1, 3 * self._settle)

    def _gathering(self, manifest: str) -> Writer:
        """Shards, and a manifest that is renamed into place when all of them are written."""
        said: set[bytes] = set()
        for _ in range(self._rng.randrange(1, 3)):
            shards: dict[str, str] = {}
            files = []
            for name in ("shard-1", "shard-2", "shard-3")[: self._rng.randrange(1, 4)]:
                path, content = manifest.replace(MANIFEST_NAME, name), self._content(name)
                yield from self._write(path, content, pause=0.3)
                self._finish(path)
                shards[path] = hashlib.sha256(content).hexdigest()
                proof = {"size": len(content), "sha256": shards[path]} if self._rng.random() < 0.5 else {}
                files.append({"path": name} | proof)
            words = json.dumps({"files": files}).encode()
            if words in said:
                self.repeated.add(manifest)
            said.add(words)
            yield from self._write(f"{manifest}.tmp", words, pause=0.1)
            self._finish(f"{manifest}.tmp")
            if {path: hashlib.sha256(self._inode(path).data).hexdigest() for path in shards} != shards:
                return  # somebody meddled with it
            self._rename(f"{manifest}.tmp", manifest)
            if all(self._inode(path).mtime_ns <= self._inode(manifest).mtime_ns for path in shards):
                self.sets[manifest] = shards  # else the clock was set back, and it promises nothing
            yield self._rng.uniform(0.0, 3 * self._settle)

    def _measuring(self, path: str, *, rotates: bool) -> Writer:
        whole: list[int] = []
        for step in range(self._rng.randrange(3, 20)):
            line = json.dumps({"step": step, "loss": step / 8}).encode() + b"\n"
            cut = self._rng.randrange(len(line)) if self._rng.random() < 0.3 else 0
            if cut:
                self._append(path, line[:cut])
                if self.synced_lines:
                    self._sync(path)
                yield self._rng.uniform(0.1, 3.0)
            self._append(path, line[cut:])
            self.lines[step] += 1
            whole.append(step)
            if self.synced_lines:
                self._sync(path)
            yield self._rng.uniform(0.0, 2.0)
            if rotates and self._rng.random() < 0.15:
                self.rotated.update(whole)
                whole.clear()
                self._rename(path, f"{path}.{step}")
                yield self._rng.uniform(0.0, 2.0)
        self._finish(path)

    # --- what writers do

    def _content(self, path: str) -> bytes:
        """At times the content of another file, too."""
        size = self._rng.choice(_SIZES)
        what = f"{path} {self._rng.getrandbits(32):x} " if self._rng.random() < 0.7 else "the same in all files "
        return (what.encode() * 20)[:size]

    def _write(self, path: str, content: bytes, *, pause: float) -> Writer:
        self._truncate(path)
        for piece in self._pieces(content):
            self._append(path, piece)
            yield self._rng.uniform(0, pause)

    def _overwrite(self, path: str, content: bytes) -> Writer:
        at = 0
        for piece in self._pieces(content):
            inode = self._inode(path)
            inode.write(at, piece)
            self._changed(path, inode, f"overwrite {len(piece)} bytes of")
            at += len(piece)
            yield self._rng.uniform(0, 0.2)

    def _pieces(self, content: bytes) -> list[bytes]:
        if len(content) < 2 or self._rng.random() < 0.5:
            return [content]
        cut = self._rng.randrange(1, len(content))
        return [content[:cut], content[cut:]]

    def _append(self, path: str, data: bytes) -> None:
        inode = self._inode(path)
        inode.write(len(inode.data), data)
        self._changed(path, inode, f"append {len(data)} bytes to")

    def _truncate(self, path: str) -> None:
        inode = self._inode(path)
        inode.truncate(0)
        self._changed(path, inode, "truncate")

    def _rename(self, source: str, target: str) -> None:
        self._system.rename(f"{ROOT}/{source}", f"{ROOT}/{target}")
        inode = self._inode(target)
        mtime_ns = inode.mtime_ns
        self._changed(target, inode, f"rename {source} to", moved_from=source)
        inode.mtime_ns = mtime_ns
        self.unfinished.discard(target)

    def _unlink(self, path: str) -> None:
        if f"{ROOT}/{path}" in self._system.names:
            self._system.unlink(f"{ROOT}/{path}")
            self._tick()
            self._machine.note("writer: unlink", path)
            self._happened(path, "")

    def _touch(self, path: str, mtime_ns: int) -> None:
        inode = self._inode(path)
        self._changed(path, inode, "set back the time of")
        inode.mtime_ns = mtime_ns
        self.unfinished.discard(path)

    def _inode(self, path: str) -> Inode:
        full = f"{ROOT}/{path}"
        inode = self._system.names.get(full)
        return self._system.create(full) if inode is None else inode

    def _sync(self, path: str) -> None:
        self._inode(path).sync()
        self._system.sync_folder(f"{ROOT}/{path}".rpartition("/")[0])

    def _finish(self, path: str) -> None:
        self.unfinished.discard(path)
        if self._rng.random() < 0.5 and f"{ROOT}/{path}" in self._system.names:
            self._sync(path)

    def _changed(self, path: str, inode: Inode, what: str, *, moved_from: str = "") -> None:
        self._tick()
        inode.mtime_ns = inode.ctime_ns = int(self._machine.now() * 1e9)
        self.unfinished.add(path)
        self.sets = {name: shards for name, shards in self.sets.items() if path != name and path not in shards}
        if self._remember(path):
            self.written_at[path] = self._machine.elapsed
        else:
            self.written_at.pop(path, None)
        self._machine.note("writer:", what, path)
        self._happened(path, moved_from)

    def _remember(self, path: str) -> bool:
        """Returns whether the path never had this content before."""
        content = hashlib.sha256(self._inode(path).data).digest()
        before = self.history.setdefault(path, set())
        is_new = content not in before
        before.add(content)
        return is_new

    def _tick(self) -> None:
        # File times have a resolution, and two writes are never at the same moment.
        self._machine.elapsed += 0.001
