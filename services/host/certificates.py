"""Certificates: a certificate and its key, checked before use: whole, a pair, valid now, and for this host."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from sluicegate.registry.words.errors import InvalidSetting

_SHORTEST_RSA = 2048
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate with its chain, and its key."""

    text: str = field(repr=False)
    """Both in PEM, for one file, so that a certificate is never read with another one's key."""
    leaf: bytes = field(repr=False)
    """The certificate alone, in DER."""
    names: tuple[str, ...]
    ends: datetime


def read_pair(certificate: Path, key: Path, host: str, now: datetime) -> Pair:
    """The pair in these files, if this host may use it. Raises InvalidSetting, which says what is wrong."""
    return check_pair(content(certificate), content(key), host, now, where=(str(certificate), str(key)))


def check_pair(certificate: bytes, key: bytes, host: str, now: datetime, *, where: tuple[str, str]) -> Pair:
    """The same as `read_pair`, for contents already read; `where` names their files in errors."""
    chain = _chain(certificate, where[0])
    private = _private(key, where[1])
    leaf, ends = chain[0], chain[0].not_valid_after_utc
    names = _names(leaf)
    if _public(leaf.public_key()) != _public(private.public_key()):
        raise _wrong(f"the key in {where[1]} is not the key of the certificate in {where[0]}", _BOTH)
    if ends <= now:
        raise _wrong(f"the certificate in {where[0]} expired at {ends:%Y-%m-%d %H:%M} UTC", "renew it")
    if leaf.not_valid_before_utc > now:
        begins = leaf.not_valid_before_utc
        raise _wrong(f"the certificate in {where[0]} is not valid before {begins:%Y-%m-%d %H:%M} UTC", _CLOCK)
    if not any(_covers(name, host) for name in names):
        hosts = ", ".join(names) or "no host at all"
        raise _wrong(
            f"the certificate in {where[0]} is for {hosts}, and SLUICE_LISTEN is {host}",
            f"have {host} among its subject alternative names, or set SLUICE_LISTEN to a name that it has",
        )
    pem = serialization.Encoding.PEM
    plain = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    text = b"".join((*(each.public_bytes(pem) for each in chain), plain)).decode()
    return Pair(text=text, leaf=leaf.public_bytes(serialization.Encoding.DER), names=names, ends=ends)


_BOTH = "put both in place: a certificate and the key that it was issued for"
_CLOCK = "set this machine's clock, or wait"


def _wrong(what: str, how: str) -> InvalidSetting:
    return InvalidSetting(f"{what}.", fix=f"{how}.")


def content(path: Path) -> bytes:
    """The bytes of a certificate or key. Raises InvalidSetting."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _wrong(f"{path} cannot be read: {error.strerror}", "name a file that this user may read") from None


def _chain(text: bytes, where: str) -> list[x509.Certificate]:
    how = "write the whole certificate in PEM, its intermediate certificates after it"
    try:
        chain = x509.load_pem_x509_certificates(text)
    except ValueError:
        chain = []
    if not chain or not len(chain) == text.count(_BEGIN) == text.count(_END):
        raise _wrong(f"{where} holds no whole certificate", how)
    return chain


_Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _private(text: bytes, where: str) -> _Private:
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except TypeError:
        raise _wrong(f"the key in {where} is protected by a password", "store it without one, mode 600") from None
    except ValueError:
        raise _wrong(f"{where} holds no whole private key", "write the whole key in PEM") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _SHORTEST_RSA:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise _wrong(f"Envoy cannot use the key in {where}", f"use ECDSA, or RSA of at least {_SHORTEST_RSA} bits")


def _public(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    )


def _covers(name: str, host: str) -> bool:
    name, host = name.lower(), host.lower()
    if name.startswith("*."):
        return not is_address(host) and host.partition(".")[2] == name[2:]
    return name == host


def is_address(host: str) -> bool:
    """Whether the host is named by its IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
