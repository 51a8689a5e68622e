"""What to do about the certificate next: (kept, published, now) → step. Pure; the Secret is the memory.

A successor is made at two thirds of the lifetime. Its authority is published beside the old one first, and only after
`SETTLE` of that, when every API server has seen it, is it served; the old authority stays published until it expires.
So nobody ever serves what an API server does not trust, whatever replica answers and wherever we are killed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pinnace_operator.admission.certificates import Serving, is_for, issue, split, validity

#: API servers learn of a changed webhook configuration by a watch, within seconds.
SETTLE: Final = timedelta(seconds=60)

_BUNDLE: Final = "ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is wanted of certificates."""

    hosts: tuple[str, ...]
    lifetime: timedelta

    @property
    def settle(self) -> timedelta:
        return min(SETTLE, self.lifetime / 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the Secret holds."""

    current: Serving | None = None
    successor: Serving | None = None
    #: PEM, the newest first.
    authorities: tuple[bytes, ...] = ()

    @classmethod
    def from_secret(cls, data: Mapping[str, bytes]) -> "Kept":
        """What can't be read counts as missing."""
        return cls(
            current=_serving(data, "tls"), successor=_serving(data, "next"), authorities=split(data.get(_BUNDLE, b""))
        )

    def to_secret(self) -> dict[str, bytes]:
        data = {_BUNDLE: self.bundle}
        for prefix, serving in (("tls", self.current), ("next", self.successor)):
            if serving is not None:
                data |= {
                    f"{prefix}.crt": serving.certificate,
                    f"{prefix}.key": serving.key,
                    f"{prefix}-ca.crt": serving.authority,
                }
        return data

    @property
    def bundle(self) -> bytes:
        return b"".join(self.authorities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Write this to the Secret."""

    kept: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Make this the caBundle of every webhook."""

    bundle: bytes


def next_step(kept: Kept, published: Iterable[bytes], plan: Plan, now: datetime) -> Keep | Publish | None:
    """None: `kept.current` is to be served and all is well."""
    current = _usable(kept.current, plan.hosts, now)
    successor = _usable(kept.successor, plan.hosts, now)
    if current is None:
        current = successor or issue(plan.hosts, plan.lifetime, now)
        return Keep(kept=Kept(current=current, authorities=_living((current.authority, *kept.authorities), now)))
    wanted = _living((*([successor.authority] if successor else []), current.authority, *kept.authorities), now)
    kept = replace(kept, authorities=wanted)
    if any(bundle != kept.bundle for bundle in published):
        return Publish(bundle=kept.bundle)
    if successor is not None:
        issued, _ = validity(successor.certificate)
        return Keep(kept=replace(kept, current=successor, successor=None)) if now >= issued + plan.settle else None
    issued, ends = validity(current.certificate)
    if now < issued + (ends - issued) * 2 / 3:
        return None
    successor = issue(plan.hosts, plan.lifetime, now)
    return Keep(kept=replace(kept, successor=successor, authorities=(successor.authority, *wanted)))


def _serving(data: Mapping[str, bytes], prefix: str) -> Serving | None:
    parts = [data.get(f"{prefix}{end}", b"") for end in (".crt", "-ca.crt", ".key")]
    if not all(parts):
        return None
    certificate, authority, key = parts
    return Serving(certificate=certificate, authority=authority, _key=key)


def _usable(serving: Serving | None, hosts: Sequence[str], now: datetime) -> Serving | None:
    if serving is None or not is_for(serving, hosts) or now >= validity(serving.certificate)[1]:
        return None
    return serving


def _living(authorities: Iterable[bytes], now: datetime) -> tuple[bytes, ...]:
    """Each once, without those that have expired."""
    return tuple(dict.fromkeys(authority for authority in authorities if now < validity(authority)[1]))
