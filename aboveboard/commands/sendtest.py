"""`aboveboard send-test`: sends one message as a mail program would, and says at each step what happened."""

import secrets
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from pathlib import Path
from typing import TypeVar

import click

from aboveboard.commands.shared import fail
from aboveboard.parameters import ADDRESS
from aboveboard.trial import Failed, Server, Trial, said
from aboveboard.values import is_loopback
from policies.address import domain_of

_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_USUAL = {465: "implicit", 25: "none"}
Result = TypeVar("Result")


@click.command("send-test")
@click.option("--host", required=True, help="The relay, by the name that mail programs use.")
@click.option("--port", type=click.IntRange(1, 65_535), default=None, help="By default 587, 465 or 25, as --tls says.")
@click.option(
    "--tls", type=click.Choice(["starttls", "implicit", "none"]), default=None,
    help="By default implicit for port 465, none for port 25, else starttls.",
)  # fmt: skip
@click.option("--login", default=None, help="The name to log in with; the password is asked for.")
@click.option(
    "--password-file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True), default=None,
    help="Take the password from a file, or with - from standard input.",
)  # fmt: skip
@click.option("--from", "sender", type=ADDRESS, required=True, help="Who the message is from.")
@click.option("--to", "recipient", type=ADDRESS, required=True, help="A mailbox you can look into.")
@click.option(
    "--seconds", type=click.IntRange(1, 600), default=30, show_default=True, help="How long to wait for a reply."
)
def send_test(
    host: str, port: int | None, tls: str | None, login: str | None, password_file: Path | None,
    sender: str, recipient: str, seconds: int,
) -> None:  # fmt: skip
    """Prove a set-up from the outside: hand in one message as a mail program would.

    Says at each step what happened, and where a step fails what to do. No configuration file is needed. Exits with 0
    once the relay has taken the message, else with 1.
    """
    tls = tls or _USUAL.get(port or 0, "starttls")
    server = Server(host, port or _PORTS[tls], tls)
    if not sender or not recipient:
        raise click.UsageError("--from and --to name a mailbox each.")
    password = None
    if login is not None:
        if tls == "none" and not is_loopback(host):
            raise click.UsageError("A password would travel in clear: use --tls starttls or --tls implicit.")
        password = _password(password_file)
    elif password_file is not None:
        raise click.UsageError("--password-file has no meaning without --login.")
    with Trial(server, seconds=float(seconds)) as trial:
        _reach(trial)
        if login is not None and password is not None:
            _step(f"Login as {login}", lambda: trial.login(login, password), lambda _: "accepted")
        else:
            click.echo("-       Login: none asked for; give one with --login where people have one")
        _hand_in(trial, sender, recipient)
        trial.quit()


def _password(file: Path | None) -> str:
    if file is None:
        entered: str = click.prompt("Password", hide_input=True, err=True)
        return entered
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        fail(f"{file}: cannot be read as UTF-8 text.")
    return text.rstrip("\r\n")


def _reach(trial: Trial) -> None:
    server = trial.server
    _step(f"Name {server.host}", trial.resolve, lambda found: f"is {', '.join(found)}")
    with_tls = " with TLS" if server.tls == "implicit" else ""
    _step(f"Connection to port {server.port}{with_tls}", trial.connect, lambda _: "there, and it greets")
    extensions = _step("Greeting", trial.greet, _offers)
    if server.tls == "starttls":
        _step("STARTTLS", trial.secure, lambda version: f"{version}, the certificate is right")
        # RFC 3207 §4.2: what was offered before TLS counts no more.
        extensions = _step("Greeting again", trial.greet, _offers)
    elif server.tls == "implicit":
        click.echo(f"ok      TLS: {trial.secure()}, the certificate is right")
    else:
        click.echo("-       TLS: none asked for; mail travels in clear")
    if "auth" in extensions:
        click.echo(f"-       Logins offered: {extensions['auth'].strip()}")


def _offers(extensions: dict[str, str]) -> str:
    size = extensions.get("size", "").strip()
    largest = f", messages of up to {int(size) / 1e6:.0f} MB" if size.isdigit() and int(size) else ""
    return f"accepted{largest}"


def _hand_in(trial: Trial, sender: str, recipient: str) -> None:
    number = secrets.token_hex(4)
    _step(f"Sender {sender}", lambda: trial.begin(sender, utf8=not (sender + recipient).isascii()), said)
    _step(f"Recipient {recipient}", lambda: trial.add(recipient), said)
    _step("Message", lambda: trial.hand_in(message(sender, recipient, number)), said)
    click.echo(f"Done. Look into the mailbox of {recipient} for “aboveboard send-test {number}”.")


def _step(name: str, act: Callable[[], Result], words: Callable[[Result], str]) -> Result:
    """Do one step and say what came of it; the first that fails ends the command with what to do."""
    try:
        result = act()
    except Failed as error:
        click.echo(f"failed  {name}: {error.what}.")
        fail(f"What to do: {error.remedy}.")
    click.echo(f"ok      {name}: {words(result)}")
    return result


def message(sender: str, recipient: str, number: str) -> bytes:
    """Return the message that is sent: an ordinary one from a person to a person, with a number to know it by."""
    made = EmailMessage(policy=SMTP if (sender + recipient).isascii() else SMTPUTF8)
    made["From"] = sender
    made["To"] = recipient
    made["Subject"] = f"aboveboard send-test {number}"
    made["Date"] = format_datetime(datetime.now(UTC))
    made["Message-ID"] = f"<{number}.{secrets.token_hex(8)}@{domain_of(sender) or 'localhost'}>"
    made.set_content(
        "Somebody ran `aboveboard send-test` to see whether mail can be handed in.\n"
        "This message arrived, so it can. Nothing needs to be done.\n"
    )
    return made.as_bytes()
