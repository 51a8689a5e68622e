"""obstore: `put_async` of paths, sixteen files at a time."""

import asyncio
import os
import sys
from pathlib import Path

import obstore
from obstore.store import S3Store

endpoint, bucket, prefix, folder = sys.argv[1:]
store = S3Store(
    bucket,
    endpoint=endpoint,
    region="us-east-1",
    access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
    secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    virtual_hosted_style_request=False,
    # It takes no authority of one's own, so with TLS it is the only one here that checks no certificate.
    client_options={"allow_http": True, "allow_invalid_certificates": True},
)


async def main(files: list[Path]) -> None:
    turns = asyncio.Semaphore(16)

    async def put(path: Path) -> None:
        async with turns:
            await obstore.put_async(store, f"{prefix}/{path.name}", path)

    await asyncio.gather(*map(put, files))


asyncio.run(main(sorted(Path(folder).iterdir())))
