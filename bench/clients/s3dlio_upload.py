"""s3dlio: `upload` of a list of files, 32 in flight. It takes the endpoint from AWS_ENDPOINT_URL."""

import sys
from pathlib import Path

import s3dlio

_, bucket, prefix, folder = sys.argv[1:]
files = [str(path) for path in sorted(Path(folder).iterdir())]
s3dlio.upload(files, f"s3://{bucket}/{prefix}/", max_in_flight=32)
