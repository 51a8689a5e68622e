"""What admission needs of the cluster. Every method is one request, bounded in time, and raises ClusterError."""

from typing import Any, Protocol


class Lookup(Protocol):
    def experiment(self, namespace: str, name: str) -> dict[str, Any]:
        """Raises GoneError when it isn't there."""

    def server_version(self) -> tuple[int, int]:
        """Major and minor."""


class Certificates(Protocol):
    def secret(self) -> tuple[dict[str, bytes], str]:
        """The data of the Secret, and its version."""

    def write_secret(self, data: dict[str, bytes], version: str) -> None:
        """Replace the data, if nobody has since `version`; else RefusedError."""

    def authorities(self) -> tuple[bytes, ...]:
        """The caBundle of each webhook, in both configurations."""

    def write_authorities(self, bundle: bytes) -> None:
        """Make it the caBundle of all of them."""
