"""boto3's own way for many files: one TransferManager, which threads and multiparts by itself."""

import sys
from pathlib import Path

import boto3
from botocore.config import Config
from s3transfer.manager import TransferConfig, TransferManager

endpoint, bucket, prefix, folder = sys.argv[1:]
client = boto3.client(
    "s3", endpoint_url=endpoint, region_name="us-east-1", config=Config(s3={"addressing_style": "path"})
)
with TransferManager(client, TransferConfig()) as manager:
    sent = [manager.upload(str(path), bucket, f"{prefix}/{path.name}") for path in sorted(Path(folder).iterdir())]
    for upload in sent:
        upload.result()
