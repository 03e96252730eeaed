"""The letter in a message: what its writer says in it, without greeting, closing, signature, disclaimer and history.

For the fingerprint by which look-alike messages are known: names, numbers and addresses, which a mail merge puts in,
are made alike, and what stands under every message of a sender is left out, so that only the letter itself is compared.
No edit goes by what is found here, so tags are skipped by a simple pattern that stays linear and is fast.
"""

import re
from collections.abc import Iterable
from contextlib import suppress

from policies.facts import Letter, Part
from proxy.body import HtmlBody
from proxy.boilerplate import end_of_letter, without_greeting
from proxy.charset import codec_name, contains_ascii
from proxy.encodedword import decode_words
from proxy.entities import decode_attribute
from proxy.header import Unparsable
from proxy.message import Message
from proxy.transfer import decode
from proxy.wish import without_tag

_MAX_TEXT = 1_800
"""Characters of a text that are looked at; nobody's first 240 words are longer."""
_MAX_BYTES = (8_192, 131_072)
"""Bytes of a part that are looked at, first and where that gives too little: some programs write long tags."""

_UNSEEN = re.compile(rb"<!--.*?(?:-->|\Z)|<(style|script|title|head)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_RULE = re.compile(rb"<hr\b[^<>]*>?", re.IGNORECASE)
_BREAK = re.compile(
    rb"<(?:br|/?(?:p|div|t[rdh]|table|li|[ou]l|h[1-6]|blockquote|pre|center|section))\b[^<>]*>?", re.IGNORECASE
)
_TAG = re.compile(rb"</?[A-Za-z!][^<>]*>?")
_SPACES = bytes.maketrans(b"\t\n\r\f", b"    ")
_INVISIBLE = re.compile("[\xad\u034f\u200b-\u200f\u2060\ufeff]+")

# How mail programs mark the signature: Thunderbird, Gmail, Outlook (desktop, web, mobile), Apple Mail, Proton.
_SIGNATURES = (
    b"moz-signature", b"gmail_signature", b'id="signature"', b"_mailautosig", b"ms-outlook-mobile-signature",
    b"applemailsignature", b"protonmail_signature",
)  # fmt: skip


def letter(message: Message, names: Iterable[str]) -> Letter | None:
    """Return the letter in a message; None for a reply, which answers one person.

    ``names`` are texts whose words differ from one recipient to the next: addresses, above all.
    """
    text, quotes = _text(message)
    subject = without_tag(message.subject).casefold()
    if _is_reply(message, subject, quotes=quotes):
        return None
    known = _names(message, names)
    text = without_greeting(_plain(text).casefold())
    own = text[: end_of_letter(text)]
    return Letter(_words(_PREFIX.sub("", subject), known), _words(own, known))


def _plain(text: str) -> str:
    """Return a text without what nobody sees, and with one kind of space and of apostrophe."""
    return text if text.isascii() else _INVISIBLE.sub("", text).replace("\xa0", " ").replace("\u2019", "'")


# Re: in the languages that the product speaks, and of programs in Scandinavia, Poland, Portugal and the Netherlands.
_REPLY = re.compile(r"\s*(?:re|aw|antw|sv|vs|odp|r|res|ref|rif)\s*(?:\[\d+\]|\(\d+\))?\s*[:：]")
_PREFIX = re.compile(r"\A(?:\s*(?:re|aw|fwd?|wg|tr|rv|i|sv|vs|antw|odp|r|res|ref|rif)\s*[:：])+")


def _is_reply(message: Message, subject: str, *, quotes: bool) -> bool:
    """Tell whether the message answers another (RFC 5322 §3.6.4) and looks like it: a field alone is easily set."""
    threaded = bool(message.values("in-reply-to") or message.values("references"))
    return threaded and (quotes or _REPLY.match(subject) is not None)


# A top-level domain is a word of some language ("de", "it"), and so are the shortest parts of names.
_TOP_LEVEL = re.compile(r"\.[^\W\d_]+(?=\s*(?:[>;,\"']|$))")
_NAME = re.compile(r"[^\W\d_]{3,}")


def _names(message: Message, names: Iterable[str]) -> frozenset[str]:
    """Return the words that are names in this message, from To and From and what is given."""
    said = [decode_words(value[:1_000]) for name in ("to", "from") for value in message.values(name)]
    return frozenset(_NAME.findall(_TOP_LEVEL.sub(" ", " , ".join([*said, *names]).casefold())))


def _text(message: Message) -> tuple[str, bool]:
    """Return the message's text line by line, up to quoted history, and whether there is any."""
    if message.bodies:
        text = "\n".join(_html_text(body) for body in message.bodies[:2])[:_MAX_TEXT]
        return text, any(body.scan.quote_at is not None for body in message.bodies)
    parts = [part for part in message.facts.parts if part.in_body and part.content_type == "text/plain"]
    text = "\n".join(_plain_text(message.raw, part) for part in parts[:2])
    history = _HISTORY.search(text)
    return (text[:_MAX_TEXT], False) if history is None else (text[: history.start()][:_MAX_TEXT], True)


# Quoted lines (RFC 3676 §4.5), and what Outlook writes above history.
_HISTORY = re.compile(
    r"^(?:[ \t]*>|-{4,}[ \t]*\w[^\n]{4,40}?[ \t]*-{4,}[ \t]*$|_{20,}[ \t]*\n(?:From|Von|De|Da):)", re.MULTILINE
)


def _plain_text(raw: bytes, part: Part) -> str:
    """Return the beginning of a text part; as it stands where it is not what it says, or is cut amid an octet."""
    content = raw[part.body : min(part.end, part.body + _MAX_BYTES[0])]
    with suppress(Unparsable):
        content = decode(content, part.encoding).decoded
    return _decoded(content, part.charset).replace("\r\n", "\n")


def _decoded(content: bytes, charset: str) -> str:
    name = codec_name(charset) if contains_ascii(charset) else None
    return content.decode(name or "utf-8", "replace")


def _html_text(body: HtmlBody) -> str:
    """Return the text of an HTML part as a person reads it, one line per block, up to quoted history or signature."""
    data = body.encoded.decoded
    data = data if body.scan.quote_at is None else data[: body.scan.quote_at]
    start = max(0, data[: _MAX_BYTES[1]].lower().find(b"<body"))
    for size in _MAX_BYTES:
        text = _without_tags(data[start : start + size])
        if len(text) >= _MAX_TEXT or len(data) <= start + size:
            break
    return decode_attribute(_decoded(text, body.entity.part.charset))


def _without_tags(data: bytes) -> bytes:
    lowered = data.lower()
    marks = [at for at in map(lowered.find, _SIGNATURES) if at != -1] if b"sig" in lowered else []
    if marks:
        data = data[: max(0, data.rfind(b"<", 0, min(marks)))]
    data = _UNSEEN.sub(b" ", data)
    if b"<pre" not in lowered:
        data = data.translate(_SPACES)
    if b"<hr" in lowered:
        data = _RULE.sub(b"\n-----\n", data)
    return _TAG.sub(b"", _BREAK.sub(b"\n", data))


_URL = re.compile(r"(?:https?://|www\.)([^\s/<>\"'?#]+)[^\s<>\"']*")
_ADDRESS = re.compile(r"[^\s<>()@]{1,64}@[^\s<>()@]+")
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_WORD = re.compile(r"@|[^\W_]+(?:'[^\W_]+)*")
_SAME = frozenset({"@", "0"})


def _words(text: str, names: frozenset[str]) -> tuple[str, ...]:
    """Return the words of a text in order; names and addresses become ``@``, numbers ``0``, URLs their host."""
    if "://" in text or "www." in text:
        text = _URL.sub(r"\1", text)
    if "@" in text:
        text = _ADDRESS.sub("@", text)
    if not text.isascii():
        # Chinese and Japanese put no spaces between words: every character counts as one.
        text = _IDEOGRAPH.sub(r" \g<0> ", text)
    words = [
        "@" if word in names else "0" if not word.isalpha() and any(map(str.isdigit, word)) else word
        for word in _WORD.findall(text)
    ]
    # "Ms Mary Jones" is no longer than "Bob", and "1.200,00" no longer than "900".
    return tuple(
        [word for word, before in zip(words, ["", *words], strict=False) if word not in _SAME or word != before]
    )
