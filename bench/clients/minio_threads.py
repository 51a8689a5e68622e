"""minio-py: `fput_object` in eight threads."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from minio import Minio

endpoint, bucket, prefix, folder = sys.argv[1:]
where = urlsplit(endpoint)
client = Minio(
    where.netloc,
    access_key=os.environ["AWS_ACCESS_KEY_ID"],
    secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    region="us-east-1",
    secure=where.scheme == "https",
)


def put(path: Path) -> None:
    client.fput_object(bucket, f"{prefix}/{path.name}", str(path))


with ThreadPoolExecutor(8) as pool:
    list(pool.map(put, sorted(Path(folder).iterdir())))
