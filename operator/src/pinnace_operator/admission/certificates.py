"""A serving certificate and the authority that vouches for it alone. Pure, but for the randomness of keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Clocks of API servers may be behind ours by so much.
BACKDATED: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """PEM. The repr shows no key."""

    certificate: bytes
    authority: bytes
    _key: bytes

    def __repr__(self) -> str:
        return "Serving()"

    @property
    def key(self) -> bytes:
        return self._key


def issue(hosts: Sequence[str], lifetime: timedelta, now: datetime) -> Serving:
    """A certificate for `hosts`, valid from a little before `now` for `lifetime`.

    Its authority signs this one and no other: its key is forgotten here, so who reads the Secret can't sign anything.
    """
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pinnace webhook {now:%Y-%m-%dT%H:%M:%SZ}")])
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), lifetime, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(x509.Name([]), authority_name, key.public_key(), lifetime, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # Critical, because there is no other name.
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Serving(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        authority=authority.public_bytes(serialization.Encoding.PEM),
        _key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """From when, without the backdating, and until when. Raises ValueError for what is no certificate in PEM."""
    parsed = x509.load_pem_x509_certificate(certificate)
    return parsed.not_valid_before_utc + BACKDATED, parsed.not_valid_after_utc


def is_for(serving: Serving, hosts: Sequence[str]) -> bool:
    """Whether the certificate names exactly `hosts`, its key fits it and its authority signed it."""
    try:
        certificate = x509.load_pem_x509_certificate(serving.certificate)
        key = serialization.load_pem_private_key(serving.key, None)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(serving.authority))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is replaced
        return False
    return key.public_key() == certificate.public_key() and list(names) == [_host(host) for host in hosts]


def split(bundle: bytes) -> tuple[bytes, ...]:
    """The certificates of a bundle, each as PEM. Empty for what is no bundle."""
    try:
        return tuple(
            certificate.public_bytes(serialization.Encoding.PEM)
            for certificate in x509.load_pem_x509_certificates(bundle)
        )
    except ValueError:
        return ()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
