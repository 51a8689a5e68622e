"""s3dlio: `upload` of a folder, 32 in flight. It takes the endpoint from AWS_ENDPOINT_URL."""

import sys

import s3dlio

_, bucket, prefix, folder = sys.argv[1:]
# The folder and not its files: given a list, it looks at every file again for each one that it sends.
s3dlio.upload([folder], f"s3://{bucket}/{prefix}/", max_in_flight=32)
