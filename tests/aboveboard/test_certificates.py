"""Listeners' certificates: what mail programs would complain about is one sentence with its key path."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from aboveboard.certificates import Pair, notes, problems, read

HOST = "relay.example.org"
NOW = datetime.now(UTC)
PATH = "relay.listener[0]"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority; whether this machine knows it is up to each test."""
    return trustme.CA()


def files(folder: Path, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """Write certificate with chain, and key, and return where they are."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return chain, key


def pair(folder: Path, certificate: trustme.LeafCert) -> Pair:
    """Return a certificate that was read with its key."""
    found = read(PATH, *files(folder, certificate))
    assert isinstance(found, Pair)
    return found


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this machine trust the authority."""
    file = tmp_path / "authorities.pem"
    file.write_bytes(authority.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("names", "hosts"),
    [
        ([HOST], [HOST]),
        (["*.example.org"], [HOST]),
        (["RELAY.example.org"], [HOST]),
        (["192.0.2.7"], ["192.0.2.7"]),
        ([HOST], ["smtp.example.org", HOST]),
        ([HOST], []),
    ],
    ids=["its name", "wildcard", "case", "address", "one of two", "no name said"],
)
def test_a_good_certificate(authority: trustme.CA, tmp_path: Path, names: list[str], hosts: list[str]) -> None:
    """A trusted certificate for one of the names by which mail programs come is in order."""
    assert [] == problems(pair(tmp_path, authority.issue_cert(*names)), hosts)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("names", [["mail.example.org"], ["*.relay.example.org"], ["*.org"], ["192.0.2.7"]], ids=str)
def test_another_name(authority: trustme.CA, tmp_path: Path, names: list[str]) -> None:
    """A certificate for other names says which it has, and which it should have (RFC 9525 §6.3)."""
    (problem,) = problems(pair(tmp_path, authority.issue_cert(*names)), [HOST])
    assert problem.startswith(f"{PATH}.certificate: is for {names[0]} and not for {HOST}, ")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("begins", "ends", "expected"),
    [(-20, -1, "has expired on"), (1, 20, "is not valid before")],
    ids=["expired", "not yet"],
)
def test_dates(authority: trustme.CA, tmp_path: Path, begins: int, ends: int, expected: str) -> None:
    """A certificate that is over, or not yet valid, is named once."""
    made = authority.issue_cert(HOST, not_before=NOW + timedelta(days=begins), not_after=NOW + timedelta(days=ends))
    (problem,) = problems(pair(tmp_path, made), [HOST])
    assert problem.startswith(f"{PATH}.certificate: {expected} ")


def test_a_chain_that_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the certificate in between, mail programs that know the root only would not accept it."""
    root = trustme.CA()
    made = root.create_child_ca().issue_cert(HOST)
    trusted = tmp_path / "authorities.pem"
    trusted.write_bytes(root.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    whole = pair(tmp_path, made)
    assert [] == problems(whole, [HOST])
    whole.certificate.write_bytes(made.cert_chain_pems[0].bytes())
    (problem,) = problems(whole, [HOST])
    assert "from an authority that this machine does not know, or one in between is left out; send" in problem


def test_an_unknown_authority(authority: trustme.CA, tmp_path: Path) -> None:
    """A certificate that this machine cannot trace to an authority it knows is named as such."""
    (problem,) = problems(pair(tmp_path, authority.issue_cert(HOST)), [HOST])
    assert "authority that this machine does not know" in problem


def test_files_that_cannot_be_used(authority: trustme.CA, tmp_path: Path) -> None:
    """Files that are none, a key of another certificate, and a chain in the wrong order are told apart."""
    made = authority.create_child_ca().issue_cert(HOST)
    chain, key = files(tmp_path, made)
    other = tmp_path / "other.pem"
    other.write_bytes(trustme.CA().issue_cert(HOST).private_key_pem.bytes())
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    turned = tmp_path / "turned.pem"
    turned.write_bytes(b"".join(blob.bytes() for blob in reversed(made.cert_chain_pems)))
    assert [f"{PATH}.key: {other} does not belong to the certificate in {chain}."] == read(PATH, chain, other)
    assert [f"{PATH}.certificate: {junk} cannot be read as certificates in PEM form."] == read(PATH, junk, key)
    assert [f"{PATH}.key: {junk} cannot be read as a private key in PEM form."] == read(PATH, chain, junk)
    (problem,) = read(PATH, turned, key)
    assert problem == f"{PATH}.certificate: the server's own certificate must come first in {turned}, before its chain."


@pytest.mark.usefixtures("trusted")
def test_notes(authority: trustme.CA, tmp_path: Path) -> None:
    """That a certificate ends within two weeks, and by which name to come where the file names none, is said."""
    ending = pair(tmp_path, authority.issue_cert(HOST, not_after=NOW + timedelta(days=13)))
    first, second = notes(ending, [])
    assert first.startswith(f"{PATH}.certificate: expires on ")
    assert second == f"{PATH}.certificate: is for {HOST}; mail programs must come by that name."
    assert [] == notes(pair(tmp_path, authority.issue_cert(HOST, not_after=NOW + timedelta(days=15))), [HOST])
