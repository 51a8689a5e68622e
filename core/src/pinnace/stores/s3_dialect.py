"""What one S3-compatible store understands beyond what they all do: learnt from its first answers, once per process.

A store that does not know a header either refuses it, or takes no notice. A refusal that might be for such a header is
answered by sending the same without it: when that works, the header is left out from then on. Both calls are harmless,
because what was refused was not carried out.
"""

import logging
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Final, TypeVar

from pinnace.settings import StoreSettings
from pinnace.stores.store import StoreError

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: What stores answer to a header that they don't know. (`BadRequest`: no code at all.)
_NOT_UNDERSTOOD: Final = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest", "BadRequest"})
#: What a store that takes no body without its SHA-256 answers to one: a bucket's policy can forbid it.
_NOT_SIGNED: Final = _NOT_UNDERSTOOD | {"AccessDenied", "SignatureDoesNotMatch", "BadDigest"}


class Feature(StrEnum):
    """Something that not every store knows."""

    #: `x-amz-checksum-crc32c`: compares, keeps and tells a CRC32C.
    CHECKSUM = "checksum"
    #: `x-amz-checksum-type: FULL_OBJECT`: one CRC32C over all parts; without it, one over the parts' own.
    WHOLE_CHECKSUM = "checksum of a whole multipart object"
    #: `If-None-Match: *`: writes only where nothing is.
    CONDITION = "conditional write"
    #: `UNSIGNED-PAYLOAD`: a body that is protected by TLS and its CRC32C, without its SHA-256.
    BARE_BODY = "body without its SHA-256"

    # Every request looks into sets of them; an enumeration's own hash is ten times as slow.
    __hash__ = str.__hash__

    @property
    def refusals(self) -> frozenset[str]:
        """The codes of answers that might be for this."""
        return _NOT_SIGNED if self is Feature.BARE_BODY else _NOT_UNDERSTOOD


class Dialect:
    """What is known so far. Safe to use from several threads; two may learn the same at once."""

    def __init__(self, settings: StoreSettings) -> None:
        switches = {Feature.CHECKSUM: settings.checksums, Feature.CONDITION: settings.conditional_writes}
        self._known = {feature: switch == "always" for feature, switch in switches.items() if switch != "auto"}
        if settings.checksums == "never" or settings.endpoint.startswith("http:"):
            self._known[Feature.BARE_BODY] = False

    def speaks(self, feature: Feature) -> bool:
        """Whether to use it: it is known to work, or worth a try."""
        return self._known.get(feature, True)

    def give_up(self, feature: Feature) -> None:
        """It does not work any more."""
        self._known[feature] = False

    def knows(self, feature: Feature) -> bool:
        """Whether it is known to work."""
        return self._known.get(feature, False)

    def learn(self, feature: Feature, works: bool) -> None:
        """What an answer showed; nothing when it is known already."""
        if feature not in self._known:
            self._known[feature] = works
            if not works:
                _log.info("the store does not know it; going on without", extra={"feature": feature})

    def call(self, wanted: Sequence[Feature], send: Callable[[frozenset[Feature]], _T]) -> _T:
        """What `send` returns with those of the wanted features that the store speaks, tried in that order of doubt."""
        return self.begin(wanted, lambda features: partial(send, features))()

    def begin(
        self, wanted: Sequence[Feature], begin: Callable[[frozenset[Feature]], Callable[[], _T]]
    ) -> Callable[[], _T]:
        """`call` in two steps: `begin` sends, and what it returns, as what this returns, waits for the answer."""
        features = [feature for feature in wanted if self._known.get(feature, True)]
        doubtful = [feature for feature in features if feature not in self._known]
        answer = begin(frozenset(features))
        return (lambda: self._answer(features, doubtful, begin, answer)) if doubtful else answer

    def _answer(
        self,
        features: list[Feature],
        doubtful: list[Feature],
        begin: Callable[[frozenset[Feature]], Callable[[], _T]],
        answer: Callable[[], _T],
    ) -> _T:
        try:
            return answer()
        except StoreError as error:
            doubtful = [feature for feature in doubtful if error.code in feature.refusals]
            if not doubtful:
                raise
            refusal = error
        for feature in doubtful:
            features.remove(feature)
            try:
                result = begin(frozenset(features))()
            except StoreError as error:
                if error.code not in feature.refusals:
                    raise
            else:
                self.learn(feature, works=False)
                return result
        raise refusal
