"""Our own store client, as the sidecar uses it: `… (stored | digest)`.

`stored`: the digests were taken before, as they are when a file leaves the sidecar's buffer; they lie in
FOLDER.digests. `digest`: they are taken here, and each file's parts go out while the next ones are being read.
"""

import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore

import msgspec

from pinnace.digests import ContentDigest, Digester
from pinnace.settings import StoreSettings
from pinnace.stores.credentials import credentials_for
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import MAX_PARTS, Part
from pinnace_sidecar.buffer import CHUNK_BYTES
from pinnace_sidecar.settings import Tuning

TUNING = Tuning()
FileDigests = dict[str, ContentDigest]


def digest_of(path: Path) -> ContentDigest:
    """What the sidecar takes of a file while it copies it."""
    digester = Digester(TUNING.part_size(path.stat().st_size, MAX_PARTS))
    with path.open("rb", buffering=0) as file:
        while data := file.read(CHUNK_BYTES):
            digester.update(data)
    return digester.finish()


class Uploads:
    """Sends files with as many threads as the sidecar."""

    def __init__(self, store: S3Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._pool = ThreadPoolExecutor(TUNING.upload_threads)
        # As the sidecar: no longer queue than twice the threads.
        self._turns = BoundedSemaphore(2 * TUNING.upload_threads)
        self._whole: list[Future[None]] = []

    def send(self, path: Path, digest: ContentDigest) -> None:
        """Begin to send a file."""
        if len(digest.parts) == 1:
            self._whole.append(self._submit(lambda: self._put(path, digest)))
        else:
            self._send_parts(path, digest)

    def finish(self) -> None:
        """Wait for the rest; raises what failed."""
        for future in self._whole:
            future.result()

    def _submit(self, operation):  # type: ignore[no-untyped-def]
        self._turns.acquire()
        future = self._pool.submit(operation)
        future.add_done_callback(lambda _: self._turns.release())
        return future

    def _put(self, path: Path, digest: ContentDigest) -> None:
        with path.open("rb", buffering=0) as file:
            self._store.put(f"{self._prefix}/{path.name}", file, digest.parts[0])

    def _send_parts(self, path: Path, digest: ContentDigest) -> None:
        upload = self._store.create_multipart(f"{self._prefix}/{path.name}")

        def send(number: int) -> Part:
            with path.open("rb", buffering=0) as file:
                return self._store.put_part(upload, number, file, digest.parts[number - 1])

        parts = [self._submit(lambda number=number: send(number)) for number in range(1, len(digest.parts) + 1)]
        self._store.complete_multipart(upload, [part.result() for part in parts], digest)


def main(endpoint: str, bucket: str, prefix: str, folder: str, how: str, *ca_file: str) -> None:
    settings = StoreSettings(endpoint=endpoint, bucket=bucket, ca_file="".join(ca_file))
    store = S3Store(settings, credentials_for(settings))
    uploads = Uploads(store, prefix)
    files: Iterable[Path] = sorted(Path(folder).iterdir())
    if how == "stored":
        digests = msgspec.json.decode(Path(f"{folder}.digests").read_bytes(), type=FileDigests)
        for path in files:
            uploads.send(path, digests[path.name])
    elif how == "digest":
        for path in files:
            uploads.send(path, digest_of(path))
    else:
        Path(f"{folder}.digests").write_bytes(msgspec.json.encode({path.name: digest_of(path) for path in files}))
    uploads.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
