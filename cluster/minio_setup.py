"""Makes MinIO ready for Pinnace: one bucket, and one key that may do there what a sidecar does and nothing else.

Runs in the project's virtual environment (the package `minio` speaks MinIO's admin protocol, whose bodies are
encrypted). Everything may be repeated: what is there stays, the policy and the key are brought up to date.

    python -m cluster.minio_setup --endpoint http://127.0.0.1:30900 --root root.json --key key.json

`root.json` holds `{"user": …, "password": …}` (`-`: standard input). `key.json` is read when it is there; otherwise a
key is made and written to it, readable by its owner only, with the field names that the Secret `pinnace-store` has.
"""

import argparse
import json
import os
import re
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException

BUCKET = "pinnace"
ACCESS_KEY = "pinnace"


class StoreSetupError(RuntimeError):
    """MinIO could not be set up; the message says why. Safe to try again."""


def policy(bucket: str) -> dict[str, object]:
    """What Pinnace's key may do.

    No DeleteObject: sidecars never delete, so a key that leaks can't remove what was recorded. What an interrupted
    upload left behind is no object yet; taking it away is AbortMultipartUpload.
    """
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    # a HEAD on a key that isn't there answers 404 only to who may list; otherwise 403
                    "s3:ListBucket",
                    # to find uploads of its own after a crash
                    "s3:ListBucketMultipartUploads",
                    "s3:GetBucketLocation",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            },
        ],
    }


def ensure(*, endpoint: str, root_user: str, root_password: str, bucket: str, access_key: str, secret_key: str) -> None:
    """Make sure that `bucket` exists and that this key may use it and nothing else.

    Safe to repeat; another `secret_key` for the same `access_key` replaces the old one. Raises StoreSetupError.
    """
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/"):
        raise StoreSetupError(f"the endpoint must be http://HOST[:PORT] or https://HOST[:PORT], not {endpoint!r}")
    root = StaticProvider(root_user, root_password)
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=5, read=30),
        retries=urllib3.Retry(total=3, backoff_factor=0.5, status_forcelist=[500, 502, 503, 504]),
        ca_certs=certifi.where(),
    )
    secure = url.scheme == "https"
    try:
        store = Minio(endpoint=url.netloc, credentials=root, secure=secure, http_client=pool)
        if not store.bucket_exists(bucket_name=bucket):
            store.make_bucket(bucket_name=bucket)
        admin = MinioAdmin(endpoint=url.netloc, credentials=root, secure=secure, http_client=pool)
        name = f"{bucket}-sidecar"
        admin.policy_add(name, policy=policy(bucket))
        admin.user_add(access_key, secret_key)
        admin.policy_set(name, user=access_key)  # takes the place of any other policy of this user
    except urllib3.exceptions.HTTPError as error:
        raise StoreSetupError(f"{endpoint} can't be reached: {error}") from error
    except (MinioException, MinioAdminException) as error:
        raise StoreSetupError(f"{endpoint} refused: {_reason(error)}") from error
    except ValueError as error:  # how the client refuses a bucket's name
        raise StoreSetupError(str(error)) from error
    finally:
        pool.clear()


def read_or_make_key(path: Path) -> dict[str, str]:
    """The key in `path`, made on first use. The file is created with mode 0600, never readable by others before."""
    if path.exists():
        key: dict[str, str] = json.loads(path.read_text())
        return key
    key = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30)}
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(key, file)
    return key


def _reason(error: Exception) -> str:
    """The server's own code and message: the exceptions' texts are whole documents."""
    text = str(error)
    code = re.search(r'"Code":"(\w+)"|code: (\w+)', text)
    message = re.search(r'"Message":"([^"]*)"|message: ([^,]*)', text)
    parts = [next(group for group in match.groups() if group) for match in (code, message) if match]
    return ": ".join(parts) or text


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m cluster.minio_setup", description="bucket and key for Pinnace")
    parser.add_argument("--endpoint", required=True, help="http://HOST:PORT of MinIO")
    parser.add_argument("--root", required=True, help='JSON file with "user" and "password"; -: standard input')
    parser.add_argument("--key", required=True, type=Path, help="JSON file with the key: read, or made with mode 0600")
    parser.add_argument("--bucket", default=BUCKET)
    options = parser.parse_args(arguments)
    root = json.loads(sys.stdin.read() if options.root == "-" else Path(options.root).read_text())
    key = read_or_make_key(options.key)
    try:
        ensure(
            endpoint=options.endpoint,
            root_user=root["user"],
            root_password=root["password"],
            bucket=options.bucket,
            access_key=key["AWS_ACCESS_KEY_ID"],
            secret_key=key["AWS_SECRET_ACCESS_KEY"],
        )
    except StoreSetupError as error:
        sys.exit(f"MinIO: {error}")
    print(f"bucket {options.bucket}, access key {key['AWS_ACCESS_KEY_ID']}: the secret key is in {options.key}")


if __name__ == "__main__":
    main(sys.argv[1:])
