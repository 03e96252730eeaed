"""Real clients: each sends a letter to the relay, with certificates verified, and with a login where there is one."""

import asyncio
import smtplib
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiosmtplib

from tests.e2e.letters import html_body
from tests.peers import environment, program, require
from tests.peers.letters import Letter

HELO = "laptop.example.org"


class NotSent(Exception):
    """The client says that the message was not sent, and why."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in. ``secret`` is a password, or the token of ``XOAUTH2``."""

    user: str
    secret: str
    mechanism: str = "PLAIN"


@dataclass(frozen=True, slots=True)
class Way:
    """How a client comes to the relay: by a port on localhost, with TLS (``none``, ``starttls``, ``implicit``)."""

    port: int
    tls: str
    authority: Path
    login: Login | None = None
    source: str = ""
    """The client's own address; smtplib and curl can choose it."""
    host: str = "localhost"
    """What smtplib connects to; the others know nothing else."""

    @property
    def context(self) -> ssl.SSLContext:
        """For clients in Python: the authority and no other is trusted."""
        return ssl.create_default_context(cafile=self.authority)


Client = Callable[[Way, Letter, Path], bytes]
"""Sends a letter, with a folder for files, and returns the message as the client sent it. Raises NotSent."""


def _run(command: list[str | Path], folder: Path, content: bytes = b"", **more: str) -> None:
    done = subprocess.run(
        command, input=content, cwd=folder, env={**environment(), "HOME": str(folder), **more},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotSent(done.stdout.decode("utf-8", "replace"))


def by_smtplib(way: Way, letter: Letter, folder: Path) -> bytes:
    """Send with Python's smtplib, announced as 8-bit where it is."""
    source = (way.source, 0) if way.source else None
    try:
        if way.tls == "implicit":
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                way.host, way.port, HELO, timeout=60, source_address=source, context=way.context
            )
        else:
            client = smtplib.SMTP(way.host, way.port, HELO, 60, source)
        with client:
            if way.tls == "starttls":
                client.starttls(context=way.context)
            client.ehlo()
            if way.login is not None:
                _log_in(client, way.login)
            options = [] if letter.kind == "text" else ["BODY=8BITMIME"]
            client.sendmail(letter.sender, [letter.recipient], letter.content, options)
    except smtplib.SMTPException as error:
        raise NotSent(str(error)) from error
    return letter.content


def _log_in(client: smtplib.SMTP, login: Login) -> None:
    client.user, client.password = login.user, login.secret
    if login.mechanism == "XOAUTH2":
        said = f"user={login.user}\1auth=Bearer {login.secret}\1\1"
        client.auth("XOAUTH2", lambda challenge=None: said if challenge is None else "")
    else:
        client.auth(login.mechanism, getattr(client, f"auth_{login.mechanism.lower()}"))


def by_aiosmtplib(way: Way, letter: Letter, folder: Path) -> bytes:
    """Send with aiosmtplib."""

    async def send() -> None:
        client = aiosmtplib.SMTP(
            hostname="localhost", port=way.port, local_hostname=HELO, use_tls=way.tls == "implicit",
            start_tls=way.tls == "starttls", tls_context=way.context if way.tls != "none" else None, timeout=60,
        )  # fmt: skip
        await client.connect()
        connection = client.get_transport_info("socket")
        try:
            async with client:
                await say(client)
        finally:
            # TLS says goodbye in both directions; nothing tells when that is over.
            while connection.fileno() != -1:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def say(client: aiosmtplib.SMTP) -> None:
        if way.login is not None:
            await client.ehlo()
            log_in = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[way.login.mechanism]
            await log_in(way.login.user, way.login.secret)
        await client.sendmail(letter.sender, [letter.recipient], letter.content)

    try:
        asyncio.run(send())
    except aiosmtplib.SMTPException as error:
        raise NotSent(str(error)) from error
    return letter.content


def by_swaks(way: Way, letter: Letter, folder: Path) -> bytes:
    """Send with swaks."""
    file = letter.file(folder)
    # swaks ends the message with a line break of its own.
    file.write_bytes(letter.content.removesuffix(b"\r\n"))
    command: list[str | Path] = [
        program("swaks"), "--server", "localhost", "--port", str(way.port), "--helo", HELO,
        "--from", letter.sender, "--to", letter.recipient, "--data", f"@{file}",
    ]  # fmt: skip
    if way.tls != "none":
        command += ["--tls" if way.tls == "starttls" else "--tlsc", "--tls-verify", "--tls-ca-path", way.authority]
    if way.login is not None:
        command += ["--auth", way.login.mechanism, "--auth-user", way.login.user, "--auth-password", way.login.secret]
    try:
        _run(command, folder)
    except NotSent as error:
        if "TLS not available" in str(error):
            require("swaks needs Perl's Net::SSLeay (libnet-ssleay-perl) for TLS")
        raise
    return letter.content


def by_curl(way: Way, letter: Letter, folder: Path) -> bytes:
    """Send with curl."""
    command: list[str | Path] = [
        program("curl"), "--silent", "--show-error", "--disable", "--noproxy", "*", "--cacert", way.authority,
        "--url", f"{'smtps' if way.tls == 'implicit' else 'smtp'}://localhost:{way.port}/{HELO}",
        "--mail-from", letter.sender, "--mail-rcpt", letter.recipient, "--upload-file", letter.file(folder),
    ]  # fmt: skip
    if way.source:
        command += ["--interface", way.source]
    if way.tls == "starttls":
        command.append("--ssl-reqd")
    if way.login is not None and way.login.mechanism == "XOAUTH2":
        command += ["--user", way.login.user, "--oauth2-bearer", way.login.secret]
    elif way.login is not None:
        command += ["--user", f"{way.login.user}:{way.login.secret}"]
    if way.login is not None:
        command += ["--login-options", f"AUTH={way.login.mechanism}"]
    _run(command, folder)
    return letter.content


MSMTP = """\
account default
host localhost
port {port}
domain {helo}
from {sender}
tls {tls}
tls_starttls {starttls}
tls_trust_file {authority}
auth {auth}
"""


def by_msmtp(way: Way, letter: Letter, folder: Path) -> bytes:
    """Send with msmtp."""
    config = MSMTP.format(
        port=way.port, helo=HELO, sender=letter.sender, authority=way.authority if way.tls != "none" else "",
        tls="off" if way.tls == "none" else "on", starttls="on" if way.tls == "starttls" else "off",
        auth=way.login.mechanism.lower() if way.login else "off",
    )  # fmt: skip
    if way.login is not None:
        (folder / "secret").write_text(way.login.secret)
        config += f"user {way.login.user}\npasswordeval cat {folder / 'secret'}\n"
    (folder / "msmtprc").write_text(config)
    (folder / "msmtprc").chmod(0o600)
    command = [program("msmtp"), "-C", folder / "msmtprc", "--", letter.recipient]
    _run(command, folder, letter.content.replace(b"\r\n", b"\n"))
    return letter.content


MUTTRC = """\
set from="{sender}" use_from use_envelope_from hostname="example.org"
set smtp_url="{scheme}://{user}localhost:{port}/"
set ssl_starttls={starttls} ssl_force_tls={force}
set ssl_ca_certificates_file="{authority}"
set charset="utf-8" send_charset="utf-8" use_8bitmime text_flowed=no
set copy record="{folder}/sent" mbox_type=Maildir tmpdir="{folder}"
"""


def by_mutt(way: Way, letter: Letter, folder: Path) -> bytes:
    """Send with mutt, which puts the message together itself; returned is the copy that it keeps."""
    config = MUTTRC.format(
        sender=letter.sender, scheme="smtps" if way.tls == "implicit" else "smtp", port=way.port, folder=folder,
        user=f"{quote(way.login.user)}@" if way.login else "", starttls="yes" if way.tls == "starttls" else "no",
        force="no" if way.tls == "none" else "yes", authority=way.authority,
    )  # fmt: skip
    if way.login is not None:
        (folder / "secret").write_text(way.login.secret)
        config += f'set smtp_authenticators="{way.login.mechanism.lower()}"\n'
        config += f'set smtp_pass="`cat {folder}/secret`" smtp_oauth_refresh_command="cat {folder}/secret"\n'
    command: list[str | Path] = [program("mutt"), "-n", "-F", folder / "muttrc", "-s", letter.subject]
    if letter.kind == "html":
        config += "set content_type=text/html\n"
        (folder / "a.bin").write_bytes(bytes(range(256)))
        command += ["-a", folder / "a.bin"]
    (folder / "muttrc").write_text(config)
    _run([*command, "--", letter.recipient], folder, letter.body.encode())
    (copy,) = (file for file in (folder / "sent").rglob("*:2,S") if letter.subject.encode() in file.read_bytes())
    header, separator, body = copy.read_bytes().partition(b"\n\n")
    return (header + separator + body).replace(b"\n", b"\r\n")


CLIENTS: dict[str, Client] = {
    "smtplib": by_smtplib,
    "aiosmtplib": by_aiosmtplib,
    "swaks": by_swaks,
    "curl": by_curl,
    "msmtp": by_msmtp,
    "mutt": by_mutt,
}


def html_part(client: str) -> bytes:
    """Return the HTML part as a client sends it."""
    html = html_body()
    return html.decode("iso-8859-1").encode() if client == "mutt" else html
