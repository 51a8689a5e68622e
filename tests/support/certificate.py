"""A certificate for 127.0.0.1 that signs itself, made anew for each test run."""

import subprocess
from pathlib import Path

from support.tools import tool


def make_certificate(folder: Path) -> Path:
    """Write `public.crt` and `private.key` into `folder`, which is made; returns it."""
    folder.mkdir(parents=True)
    command = [tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command += ["-keyout", str(folder / "private.key"), "-out", str(folder / "public.crt")]
    subprocess.run(command, check=True, capture_output=True)
    return folder
