"""The sender's pages: their own messages and what happened to them, never whether a person refused."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ledger.errors import LedgerUnavailable
from ledger.tokens import open_sender
from policies.footer import Language
from policies.words import Purpose, Reason
from web.site import Site

SHOWN = 200
"""Messages on the page."""

_CONSENT_REASONS = {Reason.SUPPRESSED, Reason.REFUSED, Reason.WITHDRAWN, Reason.EXPIRED, Reason.NO_CONSENT}

SENTENCES: dict[Reason, str] = {
    Reason.ERROR: "Something went wrong here; the message went out exactly as you sent it.",
    Reason.UNPARSABLE: "The message is built in a way that cannot be changed safely.",
    Reason.TOO_LARGE: "The message is too large.",
    Reason.LEDGER_UNAVAILABLE: "Consent could not be looked up at that moment.",
    Reason.PROTECTED: "Signed, encrypted, calendar and similar messages are never changed.",
    Reason.AUTOMATED: "Automatic messages are never tracked.",
    Reason.LIST: "Newsletters and mailing lists are never tracked.",
    Reason.BULK: "Bulk mail is never tracked.",
    Reason.GROUP: "Mail to several people, or to a shared mailbox, is never tracked.",
    Reason.INTERNAL: "Mail to colleagues is not tracked.",
    Reason.POLICY_OFF: "Your organisation has switched this off.",
    Reason.RULE: "A rule of your organisation excludes this message.",
    Reason.SENDER_OFF: "You have switched tracking off.",
    Reason.MESSAGE_OFF: "You switched it off for this message.",
    Reason.PLAIN_TEXT: "Plain text messages are not tracked.",
    Reason.EMPTY_BODY: "The message has nothing to see in it.",
    Reason.NOTHING_TO_TRACK: "There is nothing in the message that could be tracked.",
    **dict.fromkeys(_CONSENT_REASONS, "There is no agreement from this person."),
}
"""What a sender reads. Every reason that has to do with consent says the same."""


async def mail(request: Request) -> Response:
    """Show a sender's messages, by the link that was made for them."""
    site: Site = request.app.state.site
    sender_hash = open_sender(site.ledger.keyring, request.path_params["token"])
    if sender_hash is None:
        return site.render("no_sender.html", Language.ENGLISH, 404)
    only = request.query_params.get("show", "")
    only = only if only in ("tracked", "untracked") else "all"
    try:
        messages = await site.ledger.messages(sender_hash=sender_hash, limit=SHOWN)
        hits = await site.ledger.hits(message_ids=[one["message"] for one in messages if one["reason"] == "tracked"])
    except LedgerUnavailable:
        return site.render("try_again.html", Language.ENGLISH, 503)
    rows = [_row(one, [hit for hit in hits if hit["message"] == one["message"]]) for one in messages]
    shown = [row for row in rows if only == "all" or row["tracked"] == (only == "tracked")]
    return site.render("mail.html", Language.ENGLISH, rows=shown, show=only, shown=SHOWN)


def _row(message: dict[str, Any], hits: list[dict[str, Any]]) -> dict[str, Any]:
    reason = Reason(message["reason"])
    return {
        "when": message["decided_at"][:19].replace("T", " "),
        "tracked": reason is Reason.TRACKED,
        "subject": message["subject"],
        "recipient": message["recipient"],
        "delivered": message["outcome"],
        "why": SENTENCES.get(reason, ""),
        "open": _state(message, hits, Purpose.OPEN),
        "click": _state(message, hits, Purpose.CLICK),
    }


def _state(message: dict[str, Any], hits: list[dict[str, Any]], purpose: Purpose) -> dict[str, Any]:
    """Return one purpose's state: what happened, when, and by whom as far as known."""
    on = message["reasons"].get(purpose.value) == Reason.TRACKED
    found = [hit for hit in hits if hit["purpose"] == purpose]
    return {
        "on": on,
        "times": sum(hit["count"] for hit in found),
        "hits": [
            {
                "when": hit["first_at"][:19].replace("T", " "),
                "last": hit["last_at"][:19].replace("T", " ") if hit["count"] > 1 else None,
                "verdict": hit["verdict"],
                "target": hit["target"],
                "count": hit["count"],
            }
            for hit in found
        ],
    }
