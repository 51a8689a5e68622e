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
    client_options={"allow_http": True},
)


async def main() -> None:
    turns = asyncio.Semaphore(16)

    async def put(path: Path) -> None:
        async with turns:
            await obstore.put_async(store, f"{prefix}/{path.name}", path)

    await asyncio.gather(*(put(path) for path in sorted(Path(folder).iterdir())))


asyncio.run(main())
