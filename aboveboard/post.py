"""Post: mail of our own on its way, from the outbox in the ledger to the server of ``[system_mail]``.

Every process of the web looks; one at a time takes a letter up. A 4xx is tried again later, a 5xx never.
"""

import asyncio
import email.policy
import re
import textwrap
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from functools import cache
from pathlib import Path

import structlog
from jinja2 import Environment, TemplateError
from prometheus_client import Counter, Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from aboveboard import compose
from aboveboard.settings import Config, SystemMailSection
from ledger import outbox
from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from ledger.outbox import Claimed, Letter
from ledger.tally import Tally
from ledger.tokens import stop_url
from policies.address import canonical_domain, domain_of, split, unquoted
from policies.footer import Language
from proxy.path import MailParameters, Recipient
from proxy.reply import Reply, ReplyError, reply
from proxy.route import Route, parse_route
from proxy.upstream import Connection
from web.pages import environment

LETTERS = Path(__file__).parent / "letters"
LOOK_SECONDS = 1.0
"""How often the outbox is looked into."""
HAND_IN_SECONDS = 540.0
"""How long the server may take with one letter: less than a letter is claimed for, or another process sends it too."""
NOTE_SECONDS = 45.0
"""How long the ledger may be away then, for what became of a letter to be noted while nobody else takes it up."""
PARTING_SECONDS = 5.0
"""How long the end waits for a letter under way."""
_WIDTH = 76
_LINE = 78
"""Characters of a header's line (RFC 5322 §2.1.1)."""

SENT = Tally(Counter("aboveboard_letters", "Mail of our own, by kind and what became of it.", ["kind", "outcome"]))
WAITING = Gauge("aboveboard_letters_waiting", "Mail of our own that is not sent yet.", multiprocess_mode="livemax")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes letters: what they say of the organisation, and where they are handed in."""

    organisation: str
    contact: str
    privacy_url: str
    public_url: str
    address: str
    """Stands in From, and is the envelope's sender."""
    route: Route = field(repr=False)


def sender_of(config: Config, section: SystemMailSection) -> Sender:
    """Return who writes mail of our own, as its section says. Raises ConfigError for a password file."""
    password = compose.password("system_mail", section)
    return Sender(
        config.organisation.name,
        config.organisation.contact,
        config.organisation.privacy_url,
        config.web.public_url,
        mailable(section.sender),
        parse_route(section.url, ["*"], compose.hostname(config), section.username, password),
    )


def same_sender(sender: Sender, config: Config) -> Sender:
    """Return a sender that says of the organisation what the configuration says now, and hands in where it did."""
    organisation = config.organisation
    return replace(
        sender, organisation=organisation.name, contact=organisation.contact, privacy_url=organisation.privacy_url
    )


@cache
def _templates(language: Language) -> Environment:
    return environment(LETTERS, language, autoescape=False)


def write(sender: Sender, letter: Letter, stop: str, now: datetime) -> bytes:
    """Return a letter as it is sent: plain text, in the person's language; ``stop`` is where they refuse.

    Raises TemplateError for a kind that does not exist, or a letter that lacks a value, and ValueError for an address
    that cannot stand in a header.
    """
    values = {
        "organisation": sender.organisation,
        "contact": sender.contact,
        "privacy_url": sender.privacy_url,
        "stop_url": stop,
    }
    written = _templates(letter.language).get_template(f"{letter.kind}.txt").render(**letter.values, **values)
    subject, _, body = written.strip().partition("\n")
    address = mailable(letter.address)
    local, domain = split(address)
    # A mailbox beyond ASCII needs SMTPUTF8, and headers of its own kind (RFC 6532).
    message = EmailMessage(email.policy.SMTP.clone(utf8=not address.isascii()))
    message["To"] = Address(username=unquoted(local), domain=domain)
    message["Subject"] = subject.strip()
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain=domain_of(sender.address))
    # RFC 3834 §5: nobody's holiday answers it.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_folded(body), cte="quoted-printable")
    if "json" in letter.values:
        receipt = letter.values["json"].encode("utf-8")
        message.add_attachment(receipt, maintype="application", subtype="json", filename="receipt.json")
    message["Content-Language"] = letter.language.value
    return _author(sender) + message.as_bytes()


def mailable(address: str) -> str:
    """Return an address as every mail server takes it: only one whose local part is beyond ASCII needs SMTPUTF8."""
    local, domain = split(address)
    return f"{local}@{canonical_domain(domain)}" if local.isascii() else address


def _author(sender: Sender) -> bytes:
    """Return the From field. As the email package folds a long name it loses its quotes, and a comma begins another."""
    is_plain = re.fullmatch(r"[A-Za-z0-9!#$%&'*+/^_`{|}~ -]+", sender.organisation) and "=?" not in sender.organisation
    name = Header(sender.organisation, "us-ascii" if is_plain else "utf-8", header_name="From").encode(linesep="\r\n")
    fits = len(name.rpartition("\n")[2]) + len(f"From:  <{sender.address}>") <= _LINE
    between = " " if fits else "\r\n "
    return f"From: {name}{between}<{sender.address}>\r\n".encode()


def _folded(text: str) -> str:
    """Return text with no more than one empty line in a row, and its long lines folded between words."""
    lines = re.sub(r"\n{3,}", "\n\n", text.strip()).split("\n")
    wrap = textwrap.TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False, drop_whitespace=True)
    return "\n".join(line if len(line) <= _WIDTH else wrap.fill(line) for line in lines) + "\n"


async def deliver(ledger: Ledger, sender: Callable[[], Sender]) -> None:
    """Look into the outbox again and again, and send what is due. Ends when it is cancelled.

    ``sender`` returns who writes now: what letters say of the organisation may change while running.
    """
    while True:
        try:
            await send_all(ledger, sender())
        except LedgerUnavailable as error:
            log.warning("post.outbox_unavailable", why=str(error))
        except Exception:
            # What one letter meets must not keep all others here. It is claimed, so they come before it now.
            log.exception("post.failed")
        await asyncio.sleep(LOOK_SECONDS)


async def send_all(ledger: Ledger, sender: Sender) -> None:
    """Send every letter that is due, one after the other. Raises LedgerUnavailable."""
    WAITING.set(await ledger.read(outbox.waiting))
    while await ledger.read(lambda connection: outbox.is_due(connection, datetime.now(UTC))):
        claimed = await ledger.job(lambda connection: outbox.claim(connection, ledger.keyring, datetime.now(UTC)))
        if claimed is None:
            return
        await _to_its_end(_send(ledger, sender, claimed))
        WAITING.set(await ledger.read(outbox.waiting))


async def _to_its_end(sends: Coroutine[None, None, None]) -> None:
    """Send a letter, also where all is to end meanwhile: one that is cut off behind its final dot is sent once more."""
    sending = asyncio.create_task(sends)
    try:
        await asyncio.shield(sending)
    except asyncio.CancelledError:
        await asyncio.wait({sending}, timeout=PARTING_SECONDS)
        sending.cancel()
        raise


async def _send(ledger: Ledger, sender: Sender, claimed: Claimed) -> None:
    """Send one letter and note what became of it."""
    try:
        stop = stop_url(ledger.keyring, sender.public_url, claimed.letter.address)
        content = write(sender, claimed.letter, stop, datetime.now(UTC))
    except (TemplateError, ValueError) as error:
        log.error("post.not_written", kind=claimed.letter.kind, why=type(error).__name__)
        answer = None
    else:
        answer = await _hand_in(sender, mailable(claimed.letter.address), content)
    now = datetime.now(UTC)
    if answer is not None and answer.positive:
        await _note(ledger, lambda connection: outbox.sent(connection, claimed.id, now))
        outcome = "sent"
    else:
        permanent = answer is None or answer.code >= 500
        await _note(ledger, lambda connection: outbox.not_sent(connection, claimed, now, permanent=permanent))
        outcome = "failed" if permanent or claimed.attempts >= outbox.MAX_ATTEMPTS else "later"
        log.warning("post.not_sent", kind=claimed.letter.kind, code=answer.code if answer else None, outcome=outcome)
    SENT.count(claimed.letter.kind, outcome)


async def _note(ledger: Ledger, note: Callable[[AsyncConnection], Awaitable[None]]) -> None:
    """Note what became of a letter, again and again while the ledger is away: one that is forgotten is sent once more.

    Raises LedgerUnavailable where that lasts.
    """
    now = asyncio.get_running_loop().time
    until = now() + NOTE_SECONDS
    while True:
        try:
            await ledger.job(note)
        except LedgerUnavailable:
            if now() >= until:
                raise
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return


async def _hand_in(sender: Sender, address: str, content: bytes) -> Reply:
    """Hand a letter in at the server and return its reply, or the one that stands for no answer in time."""
    try:
        async with asyncio.timeout(HAND_IN_SECONDS):
            return await _said(sender, address, content)
    except TimeoutError:
        return reply(451, "4.4.2 The mail server takes too long")


async def _said(sender: Sender, address: str, content: bytes) -> Reply:
    try:
        connection = await Connection.open(sender.route)
    except ReplyError as error:
        return error.reply
    try:
        parameters = MailParameters(None, eight_bit=False, smtputf8=not f"{sender.address}{address}".isascii())
        mail, answer = await connection.begin(sender.address, parameters, Recipient(address))
        answer = answer if mail.positive else mail
        if answer.positive:
            answer = await connection.data(content)
    except ReplyError as error:
        return error.reply
    finally:
        await connection.quit()
    return answer
