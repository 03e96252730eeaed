"""The demo's mailbox: a real SMTP server that keeps what it gets in memory, and pages that show what the relay did.

It stands where the organisation's mail server would. Because the demo sends the messages too, it can lay what arrived
beside what was sent, and it reads the bytes themselves: nothing here takes the relay's word for what was changed.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from aboveboard.comparison import compare
from policies.sentence import sentence
from policies.words import Protection, Reason
from proxy.charset import codec_name
from proxy.encodedword import decode_words
from proxy.header import TooLarge, Unparsable
from proxy.message import Message, Reading, read_message
from proxy.structure import Entity, read_structure
from proxy.transfer import decode
from web.pages import STATIC, SecurityHeaders, octets

MAX_COMPARED = 200_000
"""Bytes of a message that is still laid beside its original: comparing takes longer than linear time."""

_HERE = Path(__file__).parent / "templates"
_RECEIVED = re.compile(rb"Received: [^\r\n]* id ([0-9a-f]{32});[^\r\n]*\r\n")
_WHY: dict[Reason, str] = {
    Reason.TRACKED: "This person has agreed to it, and the message is for them alone.",
    Reason.NO_CONSENT: "This person has never answered whether they agree. No answer means no tracking.",
    Reason.REFUSED: "This person has said no, and that counts until they say otherwise.",
    Reason.WITHDRAWN: "This person agreed once and has taken it back. That counts from the very next message.",
    Reason.GROUP: "More than one person may read it, and one cannot agree for another: nobody is tracked.",
    Reason.LIST: "It is a newsletter. Mailings are never tracked, not even to people who agreed.",
    Reason.BULK: "It is a mailing. Mailings are never tracked, not even to people who agreed.",
}
_WHY_PROTECTED: dict[str, str] = {
    Protection.SIGNED: "It is signed, and one changed byte would break the signature: such messages are never touched.",
    Protection.ENCRYPTED: "It is encrypted, and nobody but the recipient can look into it: it is never touched.",
}


@dataclass(frozen=True, slots=True)
class Letter:
    """One message as it arrived, and as it was sent, where the demo sent it."""

    number: int
    mail_from: str
    rcpt_to: tuple[str, ...]
    raw: bytes
    sent: bytes | None
    message: Message

    @property
    def id(self) -> str:
        """The relay's id of the message, out of its ``Received`` line; empty where there is none."""
        received = _RECEIVED.match(self.raw)
        return received[1].decode("ascii") if received else ""

    @property
    def same(self) -> bool:
        """Whether it arrived byte for byte as it was sent, behind the one ``Received`` line."""
        received = _RECEIVED.match(self.raw)
        return received is not None and self.raw[received.end() :] == self.sent

    @property
    def author(self) -> str:
        """The ``From`` field as people read it."""
        return decode_words(next(iter(self.message.values("from")), self.mail_from))

    @property
    def subject(self) -> str:
        """The subject as people read it."""
        return self.message.subject or "(no subject)"


class Mailbox:
    """Every message that arrived, in order; also what aiosmtpd hands messages to."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self._sent: dict[str, bytes] = {}

    def remember(self, raw: bytes) -> None:
        """Remember a message as it is sent, so that what arrives can be laid beside it."""
        self._sent[_message_id(read_message(raw, Reading()))] = raw

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's name)
        """Keep a message."""
        raw = envelope.original_content or b""
        message = read_message(raw, Reading())
        sent = self._sent.get(_message_id(message))
        rcpt_to = tuple(map(str, envelope.rcpt_tos))
        self.letters.append(Letter(len(self.letters) + 1, str(envelope.mail_from), rcpt_to, raw, sent, message))
        return "250 2.0.0 Kept"

    async def listen(self, bound: socket.socket) -> asyncio.Server:
        """Take mail on a socket that is bound already."""

        def session() -> SMTP:
            return SMTP(self, data_size_limit=None, enable_SMTPUTF8=True, hostname="mailbox.test", ident="demo mailbox")

        return await asyncio.get_running_loop().create_server(session, sock=bound)


def _message_id(message: Message) -> str:
    return next(iter(message.values("message-id")), "").strip()


def _entities(raw: bytes) -> list[Entity]:
    try:
        return read_structure(raw)
    except (Unparsable, TooLarge):
        return []


def _text(raw: bytes, entity: Entity) -> str:
    part = entity.part
    content = raw[part.body : part.end]
    name = codec_name(part.charset or "utf-8")
    if name is not None:
        # Not every codec is one of text.
        with suppress(Unparsable, LookupError):
            return decode(content, part.encoding).decoded.decode(name, "replace")
    return content.decode("utf-8", "replace")


def readable(raw: bytes) -> str:
    """Return a message's source with its text parts decoded, and everything else as it travelled."""
    pieces, at = [], 0
    for entity in _entities(raw):
        if entity.part.content_type.startswith("text/"):
            pieces += [raw[at : entity.part.body].decode("utf-8", "replace"), _text(raw, entity)]
            at = entity.part.end
    pieces.append(raw[at:].decode("utf-8", "replace"))
    return "".join(pieces)


def shown(raw: bytes) -> tuple[str, bool]:
    """Return what a mail program shows of a message, and whether that is HTML."""
    bodies = [entity for entity in _entities(raw) if entity.part.in_body]
    for kind in ("text/html", "text/plain"):
        for entity in bodies:
            if entity.part.content_type == kind:
                return _text(raw, entity), kind == "text/html"
    return "", False


def why(decision: Mapping[str, Any] | None) -> str:
    """Return in one sentence why a message was or was not tracked, for somebody who is new to this."""
    if decision is None:
        return "The relay has no record of this message."
    reason = Reason(decision["reason"])
    return _WHY_PROTECTED.get(decision["detail_of_protection"]) or _WHY.get(reason) or sentence(reason, {})


def marks(raw: bytes, public_url: str) -> dict[str, int]:
    """Return how many pixels, wrapped links and footers of ours are in a message, by looking at it."""
    text, _ = shown(raw)
    paths = {"pixel": "o", "link": "l", "stop": "stop"}
    return {name: text.count(f"{public_url}/{path}/") for name, path in paths.items()}


@dataclass(slots=True)
class Demo:
    """What the pages need beside the mailbox: where the rest of the demo is, and what it can do."""

    mailbox: Mailbox
    public_url: str
    relay: str
    decisions: Callable[[], Awaitable[dict[str, dict[str, Any]]]]
    """Asks the relay's ledger for every decision, by message id."""
    again: Callable[[Letter], Awaitable[None]]
    sender_url: str = ""
    stop_url: str = ""
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def decision(self, letter: Letter) -> dict[str, Any] | None:
        """Return what the relay decided about a message; its ledger is asked only for what is not known yet."""
        if letter.id not in self.known:
            self.known = await self.decisions()
        return self.known.get(letter.id)


_templates = Environment(
    loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def _page(template: str, status: int = 200, **values: Any) -> Response:
    text = _templates.get_template(template).render(**values)
    return HTMLResponse(octets(text), status, {"content-security-policy": _PAGE_POLICY})


async def _view(demo: Demo, letter: Letter) -> dict[str, Any]:
    decision = await demo.decision(letter)
    return {
        "letter": letter,
        "tracked": decision is not None and decision["reason"] == Reason.TRACKED,
        "why": why(decision),
        "marks": marks(letter.raw, demo.public_url),
    }


async def inbox(request: Request) -> Response:
    """List the messages, in the order in which they were sent."""
    demo: Demo = request.app.state.demo
    views = [await _view(demo, letter) for letter in demo.mailbox.letters]
    private = request.headers.get("dnt") == "1" or request.headers.get("sec-gpc") == "1"
    return _page("inbox.html", demo=demo, views=views, private=private)


def _letter(request: Request) -> Letter:
    letters, number = request.app.state.demo.mailbox.letters, request.path_params["number"]
    if not 1 <= number <= len(letters):
        raise HTTPException(404)
    found: Letter = letters[number - 1]
    return found


async def message(request: Request) -> Response:
    """Show one message: what a mail program shows of it, and its source beside what was sent."""
    demo: Demo = request.app.state.demo
    letter = _letter(request)
    stretches = None
    if letter.sent is not None and len(letter.raw) <= MAX_COMPARED:
        stretches = compare(readable(letter.sent), readable(letter.raw))
    whole = "" if stretches is not None else readable(letter.raw[:MAX_COMPARED])
    view = await _view(demo, letter)
    return _page("message.html", demo=demo, stretches=stretches, source=whole, count=len(demo.mailbox.letters), **view)


async def frame(request: Request) -> Response:
    """Show the message itself, as a mail program does: images may load, scripts and forms may not."""
    demo: Demo = request.app.state.demo
    text, is_html = shown(_letter(request).raw)
    if is_html:
        # In front of the message and not in it: the browser takes it into the head, and the message stays as it is.
        page = '<!doctype html><base target="_blank">' + text
    else:
        page = _templates.get_template("text.html").render(text=text)
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src {demo.public_url} data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
    )
    return HTMLResponse(octets(page), headers={"content-security-policy": policy, "x-frame-options": "SAMEORIGIN"})


async def source(request: Request) -> Response:
    """Give out a message's bytes, as sent or as delivered, for those who compare themselves."""
    letter = _letter(request)
    raw = {"sent": letter.sent, "delivered": letter.raw}.get(request.path_params["side"])
    if raw is None:
        raise HTTPException(404)
    name = f"{letter.number}-{request.path_params['side']}.eml"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(raw, headers=headers, media_type="message/rfc822")


async def again(request: Request) -> Response:
    """Send a message of the demo once more, through the relay, and show what arrives."""
    demo: Demo = request.app.state.demo
    letter = _letter(request)
    if letter.sent is None:
        raise HTTPException(404)
    await demo.again(letter)
    return RedirectResponse(f"/message/{len(demo.mailbox.letters)}", 303)


async def landing(request: Request) -> Response:
    """Be the place that the links of the demo's messages lead to, and say which one it is."""
    # As it came over the wire, for request.url is decoded and encoded anew.
    path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
    address = f"http://{request.headers.get('host', '')}{path}{'?' if query else ''}{query}"
    return _page("landing.html", address=address, demo=request.app.state.demo)


async def style(request: Request) -> Response:
    """Serve the style sheet."""
    return FileResponse(_HERE / "mailbox.css")


async def _not_there(request: Request, error: Exception) -> Response:
    return _page("nothing.html", error.status_code if isinstance(error, HTTPException) else 500)


ROUTES = [
    Route("/", inbox),
    Route("/message/{number:int}", message),
    Route("/message/{number:int}/frame", frame),
    Route("/message/{number:int}/{side}.eml", source),
    Route("/message/{number:int}/again", again, methods=["POST"]),
    Route("/landing/{path:path}", landing),
    Route("/mailbox.css", style),
    Mount("/static", StaticFiles(directory=STATIC)),
]


def build(demo: Demo) -> Starlette:
    """Return the mailbox's pages."""
    app = Starlette(
        routes=ROUTES, middleware=[Middleware(SecurityHeaders)], exception_handlers={HTTPException: _not_there}
    )
    app.state.demo = demo
    return app
