"""boto3 with AWS's common runtime: what `preferred_transfer_client="crt"` does, with the test's endpoint."""

import sys
from pathlib import Path

import botocore.session
from botocore.config import Config
from s3transfer.crt import (
    BotocoreCRTCredentialsWrapper,
    BotocoreCRTRequestSerializer,
    CRTTransferManager,
    create_s3_crt_client,
)

endpoint, bucket, prefix, folder = sys.argv[1:]
session = botocore.session.Session()
serializer = BotocoreCRTRequestSerializer(
    session, {"endpoint_url": endpoint, "region_name": "us-east-1", "config": Config(s3={"addressing_style": "path"})}
)
wrapper = BotocoreCRTCredentialsWrapper(session.get_credentials())
client = create_s3_crt_client("us-east-1", wrapper.to_crt_credentials_provider(), use_ssl=endpoint.startswith("https"))
with CRTTransferManager(client, serializer) as manager:
    sent = [manager.upload(str(path), bucket, f"{prefix}/{path.name}") for path in sorted(Path(folder).iterdir())]
    for upload in sent:
        upload.result()
