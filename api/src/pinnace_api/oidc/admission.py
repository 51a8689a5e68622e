"""Which of the provider's users may come in, and as whom: pure.

A user is known by the provider's `sub`, never by a name or an address: who is called like somebody else at the
provider does not become that user here. Groups get a prefix that no group kept here can have.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pinnace_api.credentials import digest
from pinnace_api.settings import ApiSettings
from pinnace_api.users.queries import EXTERNAL

_MAX_GROUPS: Final = 500
_MAX_GROUP: Final = 200
_UNFIT: Final = re.compile(r"[^a-z0-9._@+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Somebody who may come in."""

    subject: str
    #: What the user would like to be called; `other_name` when that is taken.
    name: str
    other_name: str
    display_name: str
    #: With their prefix.
    groups: tuple[str, ...]
    #: None: the provider does not say who is an admin.
    admin: bool | None


def admission(claims: Mapping[str, Any], settings: ApiSettings) -> Admission | None:
    """None when the settings let nobody of this domain and these groups in."""
    groups = _groups(claims.get(settings.oidc_groups_claim))
    email = claims.get("email")
    domain = ""
    if isinstance(email, str) and claims.get("email_verified") is True:
        domain = email.rpartition("@")[2].lower()
    by_domain = "*" in settings.oidc_allowed_domains or (bool(domain) and domain in settings.oidc_allowed_domains)
    if not by_domain and groups.isdisjoint(settings.oidc_allowed_groups):
        return None
    subject = str(claims["sub"])
    name = _name(claims)
    return Admission(
        subject=subject,
        name=name,
        other_name=f"{name[:90].rstrip('-._@+')}-{digest(f'{settings.oidc_issuer} {subject}')[:8]}",
        display_name=_text(claims.get("name"))[:200],
        groups=tuple(sorted(EXTERNAL + group for group in groups)),
        admin=None if not settings.oidc_admin_groups else not groups.isdisjoint(settings.oidc_admin_groups),
    )


def _groups(claim: Any) -> set[str]:
    named = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    fit = [one for one in named if isinstance(one, str) and 0 < len(one) <= _MAX_GROUP and "\0" not in one]
    return set(fit[:_MAX_GROUPS])


def _name(claims: Mapping[str, Any]) -> str:
    for claim in ("preferred_username", "email", "sub"):
        name = _UNFIT.sub("-", _text(claims.get(claim)).lower())[:100].strip("-._@+")
        if name:
            return name
    return "user"


def _text(value: Any) -> str:
    return value.replace("\0", "") if isinstance(value, str) else ""
