"""A listener's certificate: what it is proven with, and how it is renewed."""

import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from proxy.certificates import ServerCertificate

AUTHORITY = trustme.CA()


def write(folder: Path, issued: trustme.LeafCert) -> tuple[Path, Path]:
    """Write a certificate and its key, and return where."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return chain, key


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Have a client connect and return its side. Raises SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="relay.test")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (here, there) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return here


def client(change: Callable[[ssl.SSLContext], object] = id) -> ssl.SSLContext:
    """Return a client that trusts our authority, with something changed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    change(context)
    return context


def shown(certificate: ServerCertificate) -> object:
    """Return the serial number of the certificate that a client is shown."""
    found = shake(certificate.context, client()).getpeercert()
    assert found is not None
    return found["serialNumber"]


def at_most(version: ssl.TLSVersion, ciphers: str) -> Callable[[ssl.SSLContext], object]:
    """Return what keeps a client to an old version and to some ciphers of it."""

    def keep(context: ssl.SSLContext) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = version
        context.set_ciphers(ciphers)

    return keep


def test_renewed(tmp_path: Path) -> None:
    """From a renewal on clients are shown the new certificate, in the same context."""
    certificate = ServerCertificate(*write(tmp_path, AUTHORITY.issue_cert("relay.test")))
    context, first = certificate.context, shown(certificate)
    for _ in range(2):
        write(tmp_path, AUTHORITY.issue_cert("relay.test"))
        assert first == shown(certificate)
        certificate.renew()
        assert first != (first := shown(certificate))
    assert context is certificate.context


@pytest.mark.parametrize("broken", ["chain.pem", "key.pem"])
@pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "nonsense", "of another"])
def test_broken(tmp_path: Path, broken: str, content: bytes | None) -> None:
    """A new certificate that is not right, or does not belong to its key, changes nothing."""
    certificate = ServerCertificate(*write(tmp_path, AUTHORITY.issue_cert("relay.test")))
    first = shown(certificate)
    other = tmp_path / "other"
    other.mkdir()
    write(other, AUTHORITY.issue_cert("relay.test"))
    (tmp_path / broken).write_bytes((other / broken).read_bytes() if content is None else content)
    with pytest.raises(OSError):  # OpenSSL's words differ
        certificate.renew()
    assert first == shown(certificate)


def test_a_passphrase_is_not_asked_for(tmp_path: Path) -> None:
    """A key that needs a passphrase is refused at once; nothing asks for it on the terminal."""
    issued = AUTHORITY.issue_cert("relay.test")
    chain, key = write(tmp_path, issued)
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    form, locked = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(plain.private_bytes(serialization.Encoding.PEM, form, locked))
    with pytest.raises(OSError, match="passphrase"):
        ServerCertificate(chain, key)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(at_most(ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"), id="TLS 1.1"),
        pytest.param(at_most(ssl.TLSVersion.TLSv1_2, "ECDHE+AES:!AESGCM:!AESCCM:@SECLEVEL=0"), id="CBC"),
        pytest.param(at_most(ssl.TLSVersion.TLSv1_2, "RSA+AESGCM:@SECLEVEL=0"), id="no forward secrecy"),
    ],
)
def test_old_encryption(tmp_path: Path, change: Callable[[ssl.SSLContext], object]) -> None:
    """Nothing older than TLS 1.2 is spoken, and of that no cipher without forward secrecy or in CBC mode."""
    certificate = ServerCertificate(*write(tmp_path, AUTHORITY.issue_cert("relay.test")))
    with pytest.raises(ssl.SSLError):
        shake(certificate.context, client(change))


def test_versions(tmp_path: Path) -> None:
    """TLS 1.3 is spoken, and 1.2 with whoever has no more, after a renewal too."""
    certificate = ServerCertificate(*write(tmp_path, AUTHORITY.issue_cert("relay.test")))
    older = client(at_most(ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM"))
    for _ in range(2):
        assert "TLSv1.3" == shake(certificate.context, client()).version()
        assert "TLSv1.2" == shake(certificate.context, older).version()
        certificate.renew()
