"""Certificates: the certificate and key with which this host serves others. They are checked before use."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.services import durable

SOON = timedelta(days=30)
"""The remaining lifetime at which a certificate of our own is renewed."""
_LIFE, _LIFE_OF_AUTHORITY = timedelta(days=397), timedelta(days=3650)
_LIFE_OF_JOINING, _JOINING_SOON = timedelta(days=7), timedelta(days=6)
"""The lifetime of the certificates that gateways present to the relay. They get a new one each day while their tokens
are valid."""
_SLACK = timedelta(hours=1)
"""How far clients' clocks may be behind without refusing a new certificate."""
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
    return check_pair(_bytes(certificate), _bytes(key), host, now, where=(str(certificate), str(key)))


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


def own_pair(folder: Path, host: str, now: datetime) -> tuple[Path, Path]:
    """Certificate and key of our own, created or renewed as needed, signed by this installation's own authority.

    Clients trust `ca.pem`, which stays the same for years.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    try:
        is_good = read_pair(certificate, key, host, now).ends - now > SOON
    except InvalidSetting:
        is_good = False
    if not is_good:
        _issue(folder, host, now, certificate, key)
    return certificate, key


def joining_pair(folder: Path, now: datetime) -> Path:
    """The certificate and key that gateways of other hosts present to this host's relay, created or renewed as
    needed."""
    path = folder / "joining.pem"
    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        ends = now
    if ends - now <= _JOINING_SOON:
        authority, signer = _authority(folder, now)
        private = ec.generate_private_key(ec.SECP256R1())
        made = _builder(_named("gateways"), authority.subject, private, now, _LIFE_OF_JOINING)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        made = made.add_extension(_usage(is_authority=False), critical=True)
        durable.replace(path, _pem(made.sign(signer, hashes.SHA256())) + _plain(private), mode=durable.PRIVATE)
    return path


def authority_file(folder: Path) -> Path:
    """The certificate authority that clients have to trust if the certificate is our own."""
    return folder / "ca.pem"


_BOTH = "put both in place: a certificate and the key that it was issued for"
_CLOCK = "set this machine's clock, or wait"


def _wrong(what: str, how: str) -> InvalidSetting:
    return InvalidSetting(f"{what}.", fix=f"{how}.")


def _bytes(path: Path) -> bytes:
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
        return not _is_address(host) and host.partition(".")[2] == name[2:]
    return name == host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _issue(folder: Path, host: str, now: datetime, certificate: Path, key: Path) -> None:
    authority, signer = _authority(folder, now)
    private = ec.generate_private_key(ec.SECP256R1())
    named = x509.IPAddress(ipaddress.ip_address(host)) if _is_address(host) else x509.DNSName(host)
    made = _builder(_named(host), authority.subject, private, now, _LIFE)
    made = made.add_extension(x509.SubjectAlternativeName([named]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    made = made.add_extension(_usage(is_authority=False), critical=True)
    made = made.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )  # fmt: skip
    _write(key, private)
    durable.replace(certificate, _pem(made.sign(signer, hashes.SHA256())))


def _authority(folder: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    file, key = authority_file(folder), folder / "ca.key"
    if file.exists() and key.exists():
        signer = serialization.load_pem_private_key(key.read_bytes(), password=None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate(file.read_bytes()), signer
    signer = ec.generate_private_key(ec.SECP256R1())
    name = _named(f"Sluicegate {now:%Y-%m-%d %H:%M:%S}")
    made = _builder(name, name, signer, now, _LIFE_OF_AUTHORITY)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(_usage(is_authority=True), critical=True)
    signed = made.sign(signer, hashes.SHA256())
    _write(key, signer)
    durable.replace(file, _pem(signed))
    return signed, signer


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:  # fmt: skip
    at = now.astimezone(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = (
        builder.serial_number(x509.random_serial_number()).not_valid_before(at - _SLACK).not_valid_after(at + life)
    )
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _plain(key: ec.EllipticCurvePrivateKey) -> str:
    form, nobody = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, nobody).decode()


def _write(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    durable.replace(path, _plain(key), mode=durable.PRIVATE)


@dataclass
class ServedName:
    """The name and certificate with which this host serves others. Broken files do not affect the pair in use."""

    folder: Path
    host: str
    files: tuple[Path, Path] | None
    """Files of a certificate and key that are renewed elsewhere; None: they are created here."""
    clock: Callable[[], datetime]

    @property
    def in_use(self) -> Path:
        """The file with the pair in use, which serving programs watch."""
        return self.folder / "in-use.pem"

    @property
    def authority(self) -> Path | None:
        """The authority that clients have to trust in addition to their system's; None if there is none."""
        return authority_file(self.folder) if self.files is None else None

    def take_up(self) -> Pair:
        """Put the pair in the files in use. Raises InvalidSetting; then the former pair stays in use."""
        now = self.clock()
        pair = read_pair(*(self.files or own_pair(self.folder, self.host, now)), self.host, now)
        if not self.in_use.exists() or self.in_use.read_text(encoding="utf-8") != pair.text:
            durable.replace(self.in_use, pair.text, mode=durable.PRIVATE)
        return pair

    def pair_in_use(self) -> Pair:
        """The pair in use. Raises InvalidSetting if it is no longer valid, or if there is none."""
        text = _bytes(self.in_use)
        key = text[text.rfind(b"-----BEGIN") :]
        return check_pair(text.removesuffix(key), key, self.host, self.clock(), where=(str(self.in_use),) * 2)
