"""Artifacts' bytes on their way to the API and back, in bounded memory."""

from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import quote
from uuid import UUID

from pinnace.client.calls import Calls
from pinnace.client.errors import Unexpected, Unreachable
from pinnace.records import Artifact, Upload, UploadWrite


class FileCalls(Calls):
    """Sending a file again is harmless: the same content of a path is one artifact.

    A file is read from where it stands. OSError when that fails.
    """

    def put_file(
        self,
        iteration_id: UUID,
        path: str,
        content: BinaryIO,
        *,
        size: int,
        sha256: str = "",
        content_type: str = "",
    ) -> Artifact:
        """Upload the next `size` bytes as `path`. The API compares them with `sha256`."""
        headers = {
            name: value for name, value in (("x-pinnace-sha256", sha256), ("content-type", content_type)) if value
        }
        where = f"/iterations/{iteration_id}/files/{quote(path, safe='/')}"
        artifact = self._connection.send("PUT", where, content, size=size, headers=headers, answer=Artifact)
        if artifact is None:
            raise Unexpected(f"PUT {where}: the answer is no artifact", hint="this is a defect of the API")
        return artifact

    def put_upload(self, iteration_id: UUID, upload_id: UUID, upload: UploadWrite) -> Upload:
        """Begin an upload in several requests, or ask how far it is. Any UUID is the id.

        Conflict when the id is that of another file.
        """
        return self._connection.put(f"/iterations/{iteration_id}/uploads/{upload_id}", upload, Upload)

    def append_to_upload(
        self, iteration_id: UUID, upload_id: UUID, content: BinaryIO, *, offset: int, size: int
    ) -> Artifact | None:
        """Send the next `size` bytes, which begin at `offset` of the file; the artifact when all has come.

        Conflict when the upload is somewhere else by now: `put_upload` tells where.
        """
        where = f"/iterations/{iteration_id}/uploads/{upload_id}"
        headers = {"upload-offset": str(offset)}
        return self._connection.send("PATCH", where, content, size=size, headers=headers, answer=Artifact)

    def delete_upload(self, iteration_id: UUID, upload_id: UUID) -> None:
        """Give an upload up. NotFound when there is none."""
        self._connection.delete(f"/iterations/{iteration_id}/uploads/{upload_id}")

    def get_bytes(self, artifact_id: UUID, sink: Callable[[bytes], object], *, start: int = 0) -> None:
        """Hand the artifact's bytes to `sink` block by block, from byte `start` on.

        Unreachable when they break off; then what was handed over is right, as far as the network goes.
        """
        self._connection.receive(f"/artifacts/{artifact_id}/bytes", sink, start=start)

    def download(self, artifact: Artifact, sink: Callable[[bytes], object], *, start: int = 0) -> None:
        """As get_bytes; an answer that breaks off goes on as long as that brings more."""
        arrived = start

        def take(block: bytes) -> None:
            nonlocal arrived
            sink(block)
            arrived += len(block)

        while arrived < artifact.size:
            begun = arrived
            try:
                self.get_bytes(artifact.id, take, start=begun)
            except Unreachable:
                if arrived == begun:
                    raise
            else:
                return
