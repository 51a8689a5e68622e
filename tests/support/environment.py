"""The environment of a test: nothing of the machine's own settings and credentials."""

import os

import pytest


def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every variable that Pinnace or botocore would take for its own, and botocore's files and services."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "PINNACE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
