"""Certificates: whether a listener's would satisfy mail programs, and in plain words why one does not."""

import ipaddress
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

SOON = timedelta(days=14)
_EXPIRED, _NOT_YET, _SELF_SIGNED = 10, 9, 18
_NO_ISSUER = frozenset({2, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})
"""OpenSSL's codes (X509_V_ERR_…)."""


def in_words(error: ssl.SSLCertVerificationError, host: str) -> tuple[str, str]:
    """Return what is wrong with a server's certificate, and what is to be done, as clauses."""
    if error.verify_code == _EXPIRED:
        return "its certificate has expired", "renew it"
    if error.verify_code == _NOT_YET:
        return "its certificate is not valid yet", "see whether a clock is wrong"
    if error.verify_code == _SELF_SIGNED:
        return "its certificate is signed by itself", "get one from an authority, or have this machine trust it"
    if error.verify_code in _NO_ISSUER:
        return (
            "its certificate is from an authority that this machine does not know, or one in between is left out",
            "send the whole chain, or have this machine trust the authority",
        )
    if error.verify_code in _OTHER_NAME:
        return f"its certificate is for another name than {host}", "use the name that it is for, or get another one"
    return f"its certificate is not accepted ({error.verify_message})", "get another one"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, the chain behind it, and where it and its key stand in the configuration."""

    path: str
    chain: list[x509.Certificate]
    certificate: Path
    key: Path

    @property
    def names(self) -> list[str]:
        """The names and addresses that the certificate is for."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        addresses = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
        return [*names.get_values_for_type(x509.DNSName), *addresses]


def read(path: str, certificate: Path, key: Path) -> Pair | list[str]:
    """Return a listener's certificate and key, or one sentence for everything that is wrong with the files."""
    problems = []
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError):
        chain = []
        problems.append(f"{path}.certificate: {certificate} cannot be read as certificates in PEM form.")
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except TypeError:
        return [
            *problems,
            f"{path}.key: {key} is locked with a password; take it off, and keep others from reading it.",
        ]
    except (OSError, ValueError, UnsupportedAlgorithm):
        return [*problems, f"{path}.key: {key} cannot be read as a private key in PEM form."]
    if problems:
        return problems
    public = [_spki(one.public_key()) for one in chain]
    if _spki(private.public_key()) not in public:
        return [f"{path}.key: {key} does not belong to the certificate in {certificate}."]
    if _spki(private.public_key()) != public[0]:
        return [f"{path}.certificate: the server's own certificate must come first in {certificate}, before its chain."]
    return Pair(path, chain, certificate, key)


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def problems(pair: Pair, hosts: Sequence[str]) -> list[str]:
    """Return one sentence for everything that mail programs would complain about.

    ``hosts`` are the names by which they come; the certificate must be for one of them.
    """
    found = [*_dates(pair), *_names(pair, hosts)]
    error = _mistrust(pair)
    if error is not None and not (error.verify_code in (_EXPIRED, _NOT_YET) and found):
        what, remedy = in_words(error, "")
        found.append(f"{pair.path}.certificate: {what.removeprefix('its certificate ')}; {remedy}.")
    return found


def notes(pair: Pair, hosts: Sequence[str]) -> list[str]:
    """Return a sentence for what is right and to be known: that it ends soon, and by which names to come."""
    end = pair.chain[0].not_valid_after_utc
    left = end - datetime.now(UTC)
    found = []
    if timedelta() < left < SOON:
        found.append(f"{pair.path}.certificate: expires on {end:%d %B %Y}; renew it.")
    if not hosts and pair.names:
        found.append(f"{pair.path}.certificate: is for {_listed(pair.names)}; mail programs must come by that name.")
    return found


def _dates(pair: Pair) -> list[str]:
    own, now = pair.chain[0], datetime.now(UTC)
    if now > own.not_valid_after_utc:
        return [f"{pair.path}.certificate: has expired on {own.not_valid_after_utc:%d %B %Y}; renew it."]
    if now < own.not_valid_before_utc:
        return [f"{pair.path}.certificate: is not valid before {own.not_valid_before_utc:%d %B %Y}; see to the clock."]
    return []


def _names(pair: Pair, hosts: Sequence[str]) -> list[str]:
    if not hosts or any(_is_for(pattern, host) for pattern in pair.names for host in hosts):
        return []
    names = _listed(pair.names) or "no name at all"
    return [
        f"{pair.path}.certificate: is for {names} and not for {_listed(hosts)}, by which mail programs come; get one "
        "that is."
    ]


def _is_for(pattern: str, host: str) -> bool:
    """RFC 9525 §6.3: a wildcard is the whole first label, and stands for one label."""
    with suppress(ValueError):
        return ipaddress.ip_address(pattern) == ipaddress.ip_address(host)
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    first, _, rest = host.partition(".")
    return pattern == host or (bool(first) and pattern == f"*.{rest}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _mistrust(pair: Pair) -> ssl.SSLCertVerificationError | None:
    """Shake hands within this process, as a mail program would, and return why it would not go on."""
    serving, calling = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    serving.load_cert_chain(pair.certificate, pair.key)
    calling.check_hostname = False  # Names are compared with all hosts, above.
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = calling.wrap_bio(to_client, to_server)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error
    return None
