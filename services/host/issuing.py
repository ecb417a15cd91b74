"""Issuing: this installation's own certificate authority, and the certificates that it signs."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.services import durable
from sluicegate.services.host.certificates import is_address, read_pair

SOON = timedelta(days=30)
"""The remaining lifetime at which a certificate of our own is renewed."""
_LIFE, _LIFE_OF_AUTHORITY = timedelta(days=397), timedelta(days=3650)
_LIFE_OF_JOINING, _JOINING_SOON = timedelta(days=7), timedelta(days=6)
"""The lifetime of the certificates that gateways present to the relay. They get a new one each day while their tokens
are valid."""
_SLACK = timedelta(hours=1)
"""How far clients' clocks may be behind without refusing a new certificate."""


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


def _issue(folder: Path, host: str, now: datetime, certificate: Path, key: Path) -> None:
    authority, signer = _authority(folder, now)
    private = ec.generate_private_key(ec.SECP256R1())
    named = x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host)
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
