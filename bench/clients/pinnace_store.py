"""Our own store client, as the sidecar uses it: `… (stored | digest) KEY_FOLDER [CA_FILE]`.

`stored`: the digests were taken before, as they are when a file leaves the sidecar's buffer; they lie in
FOLDER.digests, where `note` has put them. `digest`: they are taken here, a file while the one before is on its way.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from threading import Lock, Thread

import msgspec

from pinnace.digests import ContentDigest, Digester
from pinnace.settings import StoreSettings, load
from pinnace.stores.credentials import credentials_for
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import MAX_PARTS, Part
from pinnace_sidecar.originals import CHUNK_BYTES
from pinnace_sidecar.settings import PREFIX, Tuning

TUNING = load(Tuning, os.environ, PREFIX)
FileDigests = dict[str, ContentDigest]


def digest_of(path: Path) -> ContentDigest:
    """What the sidecar takes of a file while it copies it."""
    digester = Digester(TUNING.part_size(path.stat().st_size, MAX_PARTS))
    with path.open("rb", buffering=0) as file:
        while data := file.read(CHUNK_BYTES):
            digester.update(data)
    return digester.finish()


class Uploads:
    """Sends files with as many threads as the sidecar has, each thread one operation after the other."""

    def __init__(self, store: S3Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._failures: list[BaseException] = []

    def send(self, files: Iterable[tuple[Path, ContentDigest]]) -> None:
        """Send all of them; raises what failed first."""
        operations, lock = self._operations(files), Lock()

        def work() -> None:
            while not self._failures:
                try:
                    with lock:
                        operation = next(operations, None)
                    if operation is None:
                        return
                    operation()
                except BaseException as error:  # noqa: BLE001 - raised below, in the main thread
                    self._failures.append(error)

        threads = [Thread(target=work) for _ in range(TUNING.upload_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _operations(self, files: Iterable[tuple[Path, ContentDigest]]) -> Iterator[Callable[[], object]]:
        for path, digest in files:
            if len(digest.parts) == 1 or (digest.size <= TUNING.whole_bytes and self._store.hashes_parts):
                yield partial(self._put, path, digest)
            else:
                yield from self._part_operations(path, digest)

    def _put(self, path: Path, digest: ContentDigest) -> None:
        with path.open("rb", buffering=0) as file:
            self._store.put(f"{self._prefix}/{path.name}", file, digest.whole)

    def _part_operations(self, path: Path, digest: ContentDigest) -> Iterator[Callable[[], object]]:
        upload = self._store.create_multipart(f"{self._prefix}/{path.name}")
        parts: list[Part] = []
        one_by_one = Lock()

        def send(number: int) -> None:
            with path.open("rb", buffering=0) as file:
                part = self._store.put_part(upload, number, file, digest.parts[number - 1])
            with one_by_one:
                parts.append(part)
                is_last = len(parts) == len(digest.parts)
            if is_last:
                self._store.complete_multipart(upload, parts, digest)

        for number in range(1, len(digest.parts) + 1):
            yield partial(send, number)


def main(endpoint: str, bucket: str, prefix: str, folder: str, how: str, *trust: str) -> None:
    key_folder, *ca_file = trust
    settings = StoreSettings(endpoint=endpoint, bucket=bucket, ca_file="".join(ca_file), credentials_dir=key_folder)
    store = S3Store(settings, credentials_for(settings))
    files = sorted(Path(folder).iterdir())
    if how == "note":
        Path(f"{folder}.digests").write_bytes(msgspec.json.encode({path.name: digest_of(path) for path in files}))
        return
    if how == "stored":
        noted = msgspec.json.decode(Path(f"{folder}.digests").read_bytes(), type=FileDigests)
        digests: Iterable[tuple[Path, ContentDigest]] = ((path, noted[path.name]) for path in files)
    else:
        digests = ((path, digest_of(path)) for path in files)
    Uploads(store, prefix).send(digests)


if __name__ == "__main__":
    main(*sys.argv[1:])
