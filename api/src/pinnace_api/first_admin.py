"""How whoever starts the API for the first time becomes its first admin: by a one-time token.

It goes into a file that only its owner reads, or to standard error where there is no such file; never through the log.
"""

import os
from pathlib import Path

from pinnace_api.settings import ApiSettings


def invitation(settings: ApiSettings, token: str) -> str:
    """What to tell a person; empty without a `token`, which means that there are users. Then no file is left either."""
    file = Path(settings.setup_token_file) if settings.setup_token_file else None
    if not token:
        if file is not None:
            file.unlink(missing_ok=True)
        return ""
    if file is None:
        return (
            "There is no user yet. This token makes the first admin, once, within a day:\n"
            f"    {token}\n"
            "Use it with: pinnace users first-admin NAME\n"
        )
    _keep(file, token)
    return (
        "There is no user yet. Make the first admin, within a day:\n"
        f"    pinnace users first-admin NAME --setup-token-file {file}\n"
    )


def _keep(file: Path, token: str) -> None:
    """Put the token where only the owner of this process reads it, in one step."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{token}\n")
    partial.replace(file)
