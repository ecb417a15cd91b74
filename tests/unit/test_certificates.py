"""Which certificates other hosts are shown, and which are refused, with the reason: services/host/certificates.py."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.registry.words.settings import Settings
from sluicegate.services.host.certificates import read_pair
from sluicegate.services.host.installation import address_of
from sluicegate.services.host.issuing import SOON, authority_file, joining_pair, own_pair
from sluicegate.services.host.served_name import ServedName

HOST, NOW = "gate.example.com", datetime(2026, 11, 30, 12, tzinfo=UTC)


def made(folder: Path, host: str = HOST, now: datetime = NOW) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    return own_pair(folder, host, now)


def why(certificate: Path, key: Path, *, host: str = HOST, now: datetime = NOW) -> str:
    with pytest.raises(InvalidSetting) as refused:
        read_pair(certificate, key, host, now)
    assert refused.value.fix
    return refused.value.message


def test_one_of_our_own_is_for_the_host_and_keeps_its_authority_when_it_is_renewed(tmp_path: Path) -> None:
    certificate, key = made(tmp_path)
    authority, first = authority_file(tmp_path).read_bytes(), read_pair(certificate, key, HOST, NOW)
    assert first.names == (HOST,)
    assert key.stat().st_mode & 0o777 == 0o600
    assert made(tmp_path) == (certificate, key)
    assert read_pair(certificate, key, HOST, NOW).text == first.text, "one that holds is kept"
    later = first.ends - SOON + timedelta(days=1)
    made(tmp_path, now=later)
    assert read_pair(certificate, key, HOST, later).ends > first.ends
    made(tmp_path, "10.1.2.3", later)
    assert read_pair(certificate, key, "10.1.2.3", later).names == ("10.1.2.3",)
    assert authority_file(tmp_path).read_bytes() == authority


def test_what_cannot_be_shown_is_refused_with_the_reason(tmp_path: Path) -> None:
    certificate, key = made(tmp_path / "a")
    _, other = made(tmp_path / "b")
    assert "is not the key of the certificate" in why(certificate, other)
    assert f"SLUICE_LISTEN is {HOST[1:]}" in why(certificate, key, host=HOST[1:])
    assert "expired at 2028-01-01" in why(certificate, key, now=NOW + timedelta(days=397)), "NOW + 397 days"
    assert "is not valid before" in why(certificate, key, now=NOW - timedelta(days=1))
    half = tmp_path / "half.pem"
    text = certificate.read_bytes()
    for length in range(0, len(text) - 2, 20):
        half.write_bytes(text[:length])
        assert "holds no whole certificate" in why(half, key)
    half.write_bytes(text + text[:200])
    assert "holds no whole certificate" in why(half, key), "one of the chain is not whole"
    half.write_bytes(key.read_bytes()[:100])
    assert "holds no whole private key" in why(certificate, half)
    assert "cannot be read" in why(tmp_path / "nowhere.pem", key)


def test_a_wildcard_is_for_one_label(tmp_path: Path) -> None:
    certificate, key = made(tmp_path, "*.example.com")
    assert read_pair(certificate, key, "Gate.Example.com", NOW)
    assert why(certificate, key, host="a.b.example.com")
    assert why(certificate, key, host="example.com")


def test_a_renewed_pair_is_taken_up_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    now = NOW
    certificate, key = made(tmp_path / "files")
    door = ServedName(folder=tmp_path / "tls", host=HOST, files=(certificate, key), clock=lambda: now)
    door.take_up()
    first = door.in_use.read_bytes()
    assert door.in_use.stat().st_mode & 0o777 == 0o600
    assert door.pair_in_use().text.encode() == first
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(door.in_use)  # a file of both is enough for a server

    whole, other = certificate.read_bytes(), made(tmp_path / "others")
    for broken in (whole[:100], other[0].read_bytes(), made(tmp_path / "wrong", "elsewhere.com")[0].read_bytes(), b""):
        certificate.write_bytes(broken)
        with pytest.raises(InvalidSetting):
            door.take_up()
        assert door.in_use.read_bytes() == first
    certificate.write_bytes(other[0].read_bytes())
    key.write_bytes(other[1].read_bytes())
    door.take_up()
    assert door.in_use.read_bytes() != first

    now += timedelta(days=400)
    with pytest.raises(InvalidSetting, match="expired"):
        door.pair_in_use()


def test_one_of_our_own_is_renewed_by_itself(tmp_path: Path) -> None:
    now = NOW
    door = ServedName(folder=tmp_path, host=HOST, files=None, clock=lambda: now)
    ends = door.take_up().ends
    now = ends - timedelta(days=1)
    assert door.take_up().ends > ends + timedelta(days=300)
    assert door.authority == authority_file(tmp_path)


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "*", "localhost", "127.0.0.1", "10.0.0.1:443", "http://a", "a b"])
def test_where_others_are_answered_is_one_name_or_address(text: str) -> None:
    with pytest.raises(InvalidSetting, match="SLUICE_LISTEN"):
        Settings.read({"SLUICE_LISTEN": text}).check()
    assert Settings.read({"SLUICE_LISTEN": "Gate.example.com"}).listen == HOST


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    certificate, key = made(tmp_path)
    with pytest.raises(InvalidSetting, match="SLUICE_TLS_KEY is not"):
        Settings.read({"SLUICE_TLS_CERTIFICATE": str(certificate)}).check()
    with pytest.raises(InvalidSetting, match="SLUICE_TLS_CERTIFICATE is not"):
        Settings.read({"SLUICE_TLS_KEY": str(key)}).check()
    both = {"SLUICE_TLS_KEY": str(key), "SLUICE_TLS_CERTIFICATE": str(certificate)}
    assert Settings.read(both).tls_files == (certificate, key)


@pytest.mark.parametrize("host", ["192.0.2.77", "no-such-host.invalid", "127.0.0.1"])
def test_an_address_of_another_machine_or_of_loopback_is_refused(host: str) -> None:
    with pytest.raises(InvalidSetting, match=host):
        address_of(host)


def test_a_gateway_whose_token_was_taken_back_holds_a_certificate_for_days_and_not_for_a_year(tmp_path: Path) -> None:
    def held(now: datetime) -> x509.Certificate:
        return x509.load_pem_x509_certificate(joining_pair(tmp_path, now).read_bytes())

    now = datetime(2026, 11, 30, tzinfo=UTC)
    first = held(now)
    assert first.not_valid_after_utc - now <= timedelta(days=7)
    assert held(now + timedelta(hours=20)) == first
    following = held(now + timedelta(days=1))
    assert following.not_valid_after_utc == first.not_valid_after_utc + timedelta(days=1)
