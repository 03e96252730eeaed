"""The certificate of a listener: loaded, and put in the place of the old one when it was renewed."""

import ssl
from pathlib import Path

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: with forward secrecy and authenticated encryption only. TLS 1.3 has no others."""


class ServerCertificate:
    """What a listener proves with that it is who it says. ``context`` stays the same for ever."""

    def __init__(self, chain: Path, key: Path) -> None:
        """Load a certificate chain and its key, both PEM. Raises OSError, of which ssl.SSLError is one."""
        self._files = (chain, key)
        self.context = self._current = self._load()

    def renew(self) -> None:
        """Load the files anew, for connections that begin from now on. Raises OSError; the old one stays then."""
        self._current = self._load()
        self.context.sni_callback = self._choose

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_ciphers(CIPHERS)
        # A key with a passphrase is refused: OpenSSL would ask for it on the terminal.
        context.load_cert_chain(*self._files, password=_no_passphrase)
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Have a connection that begins use the current certificate, whatever name its client asks for."""
        connection.context = self._current


def _no_passphrase() -> str:
    raise ssl.SSLError("the key needs a passphrase, and nobody is there to say it")
