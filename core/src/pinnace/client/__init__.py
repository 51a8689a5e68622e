"""The client of the metadata API."""

from pinnace.client.client import Client
from pinnace.client.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
    Unexpected,
    Unreachable,
)

__all__ = [
    "ApiError",
    "Client",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "NotFound",
    "Unauthorized",
    "Unavailable",
    "Unexpected",
    "Unreachable",
]
