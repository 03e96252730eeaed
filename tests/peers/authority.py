"""A certificate authority of our own, and the files that servers and clients of a test need of it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: who is trusted, and a server's certificate with its key for this machine's names."""

    authority: Path
    certificate: Path
    key: Path


@contextmanager
def certificates() -> Iterator[Certificates]:
    """Make an authority and a server's certificate, as files that every account may read until the block ends."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1", "::1")
    with tempfile.TemporaryDirectory(prefix="aboveboard-certificates-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = Certificates(folder / "authority.pem", folder / "certificate.pem", folder / "key.pem")
        authority.cert_pem.write_to_path(made.authority)
        issued.cert_chain_pems[0].write_to_path(made.certificate)
        issued.private_key_pem.write_to_path(made.key)
        yield made
