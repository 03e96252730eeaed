"""A trial: a mail server talked to step by step, as a mail program would, with plain words for whatever goes wrong.

`check --online` tries the servers behind the relay with it, `send-test` the relay itself.
"""

import smtplib
import socket
import ssl
from dataclasses import dataclass

from aboveboard.certificates import in_words

Answer = tuple[int, bytes]
_SECONDS = 30.0


class Failed(Exception):
    """A step that did not succeed: ``what`` is wrong and what is to be done, ``remedy``; clauses, without full stop."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Server:
    """Where to connect to. ``tls`` is ``none``, ``starttls`` or ``implicit``."""

    host: str
    port: int
    tls: str


def said(answer: Answer) -> str:
    """Return a server's reply as one printable line."""
    text = answer[1].decode("utf-8", "replace").replace("\n", " ")
    return f"{answer[0]} {''.join(one for one in text if one.isprintable())}"


class Trial:
    """A session with one server. Every step raises Failed where it does not succeed."""

    def __init__(self, server: Server, local_hostname: str | None = None, seconds: float = _SECONDS) -> None:
        self.server = server
        self._local_hostname = local_hostname
        self._seconds = seconds
        self._context = ssl.create_default_context()
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._client: smtplib.SMTP | None = None

    def __enter__(self) -> "Trial":
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    @property
    def client(self) -> smtplib.SMTP:
        """The session under way."""
        assert self._client is not None, "connect() comes first"
        return self._client

    def resolve(self) -> list[str]:
        """Return the addresses that the server's name has."""
        host = self.server.host
        try:
            found = socket.getaddrinfo(host, self.server.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Failed(f"the name {host} has no address", "mend its spelling, or its entry in the DNS") from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def connect(self) -> None:
        """Connect and hear the greeting; implicit TLS comes before it."""
        host, port, seconds = self.server.host, self.server.port, self._seconds
        try:
            if self.server.tls == "implicit":
                self._client = smtplib.SMTP_SSL(
                    host, port, self._local_hostname, timeout=seconds, context=self._context
                )
            else:
                self._client = smtplib.SMTP(host, port, self._local_hostname, timeout=seconds)
        except smtplib.SMTPConnectError as error:
            raise Failed(
                f"it greets with {said(_of(error))}", "it takes nobody from here now: try later, or ask its operator"
            ) from error
        except (OSError, smtplib.SMTPException) as error:
            raise self._not_connected(error) from error

    def _not_connected(self, error: Exception) -> Failed:
        server = self.server
        if isinstance(error, ssl.SSLCertVerificationError):
            return Failed(*in_words(error, server.host))
        if isinstance(error, ssl.SSLError):
            return Failed("it does not begin with TLS", "use STARTTLS for this port, as is usual for 587 and 25")
        if isinstance(error, ConnectionRefusedError):
            return Failed("nobody listens there", "see that the server runs and that the port is right")
        if isinstance(error.__context__, TimeoutError):
            # smtplib says no more of a greeting that does not come.
            return Failed("it says nothing", "where the port is one for implicit TLS, as 465 is, use that")
        if isinstance(error, smtplib.SMTPServerDisconnected):
            return Failed("it hangs up without a word", "see that the port is one for SMTP, and with which kind of TLS")
        if isinstance(error, TimeoutError):
            return Failed(
                "it does not answer", "see whether a firewall stands in between; providers often close port 25"
            )
        return Failed(f"it cannot be reached ({_reason(error)})", "see that this machine has a way there")

    def greet(self) -> dict[str, str]:
        """Say EHLO and return the extensions that the server offers, by name in small letters."""
        answer = self._ask("ehlo")
        if answer[0] != 250:
            raise Failed(f"it answers EHLO with {said(answer)}", "see that the port is one for SMTP")
        return dict(self.client.esmtp_features)

    def secure(self) -> str:
        """Say STARTTLS, unless TLS is there already or not wanted; return which TLS there is, or an empty text."""
        if self.server.tls == "starttls":
            if not self.client.has_extn("starttls"):
                raise Failed("it does not offer STARTTLS", "use the port that has TLS, or switch TLS on at the server")
            answer = self._start_tls()
            if answer[0] != 220:
                raise Failed(f"it answers STARTTLS with {said(answer)}", "look into its log: often the certificate")
        sock = self.client.sock
        return sock.version() or "" if isinstance(sock, ssl.SSLSocket) else ""

    def _start_tls(self) -> Answer:
        try:
            return self.client.starttls(context=self._context)
        except ssl.SSLCertVerificationError as error:
            raise Failed(*in_words(error, self.server.host)) from error
        except ssl.SSLError as error:
            raise Failed(
                f"TLS fails ({_reason(error)})", "see which versions of TLS it speaks: 1.2 is the least"
            ) from error
        except (OSError, smtplib.SMTPException) as error:
            raise _hung_up() from error

    def login(self, username: str, password: str) -> None:
        """Log in by what both sides know."""
        try:
            self.client.login(username, password)
        except smtplib.SMTPNotSupportedError as error:
            raise Failed("it offers no login", "leave the login out, or use a port where people log in") from error
        except smtplib.SMTPAuthenticationError as error:
            remedy = "try later" if error.smtp_code < 500 else "check name and password, and whether it wants others"
            raise Failed(f"it refuses the login with {said(_of(error))}", remedy) from error
        except UnicodeEncodeError as error:
            raise Failed(
                "name or password has letters beyond ASCII", "use others: servers differ about these"
            ) from error
        except smtplib.SMTPServerDisconnected as error:
            raise _hung_up() from error
        except (OSError, ValueError, smtplib.SMTPException) as error:
            # A ValueError is a challenge that is no base64.
            raise Failed("it offers no login by password", "use a port where it does, or another login") from error

    def begin(self, sender: str, *, utf8: bool = False) -> Answer:
        """Say MAIL; ``utf8`` where an address of the message goes beyond ASCII (RFC 6531 §3.4)."""
        if utf8 and not self.client.has_extn("smtputf8"):
            raise Failed("it takes no addresses beyond ASCII", "use addresses in ASCII, or another server")
        answer = self._ask("mail", sender, ["SMTPUTF8"] if utf8 else [])
        if answer[0] != 250:
            wanted = _LOGIN if answer[0] == 530 else _SENDER
            raise Failed(f"it refuses the sender with {said(answer)}", _later(answer) or wanted)
        return answer

    def add(self, recipient: str) -> Answer:
        """Say RCPT."""
        answer = self._ask("rcpt", recipient)
        if answer[0] not in (250, 251):
            raise Failed(f"it refuses the recipient with {said(answer)}", _later(answer) or _RECIPIENT)
        return answer

    def hand_in(self, message: bytes) -> Answer:
        """Say DATA and send a message."""
        try:
            answer = self.client.data(message)
        except smtplib.SMTPDataError as error:
            answer = _of(error)
        except (OSError, smtplib.SMTPException) as error:
            raise _hung_up() from error
        if answer[0] != 250:
            raise Failed(f"it refuses the message with {said(answer)}", _later(answer) or "its words say why")
        return answer

    def quit(self) -> None:
        """Say QUIT. What comes of it does not matter any more."""
        try:
            self.client.quit()
        except (OSError, smtplib.SMTPException):
            self.client.close()

    def _ask(self, command: str, *words: object) -> Answer:
        try:
            answer: Answer = getattr(self.client, command)(*words)
        except (OSError, smtplib.SMTPException) as error:
            raise _hung_up() from error
        return answer


_LOGIN = "give a login, behind TLS: only who is logged in may send there"
_SENDER = (
    "send from an address that belongs to this login, and to the server's own domains; "
    "without a login, see that this machine is in one of the networks that may send there"
)
_RECIPIENT = "see whether this machine or login may send through it, and whether the address exists"


def _hung_up() -> Failed:
    return Failed("it hangs up, or falls silent", "look into its log")


def _later(answer: Answer) -> str:
    return "that is for now: try again in some minutes, and look into its log" if answer[0] // 100 == 4 else ""


def _of(error: smtplib.SMTPResponseException) -> Answer:
    words = error.smtp_error
    return error.smtp_code, words.encode() if isinstance(words, str) else words


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "no common ground").replace("_", " ").lower()
    return getattr(error, "strerror", None) or type(error).__name__
