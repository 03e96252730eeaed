"""The sender's pages: their own messages and what happened to them, never whether a person refused."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ledger.errors import LedgerUnavailable
from ledger.tokens import open_sender
from policies.sentence import sentence
from policies.words import Purpose, Reason
from web.site import Site

SHOWN = 200
"""Messages on the page."""


async def mail(request: Request) -> Response:
    """Show a sender's messages, by the link that was made for them."""
    site: Site = request.app.state.site
    sender_hash = open_sender(site.ledger.keyring, request.path_params["token"])
    if sender_hash is None:
        return site.render("no_sender.html", status=404)
    only = request.query_params.get("show", "")
    only = only if only in ("tracked", "untracked") else "all"
    try:
        messages = await site.ledger.messages(sender_hash=sender_hash, limit=SHOWN)
        hits = await site.ledger.hits(message_ids=[one["message"] for one in messages if one["reason"] == "tracked"])
    except LedgerUnavailable:
        return site.render("try_again.html", status=503)
    rows = [_row(one, [hit for hit in hits if hit["message"] == one["message"]]) for one in messages]
    shown = [row for row in rows if only == "all" or row["tracked"] == (only == "tracked")]
    return site.render("mail.html", rows=shown, show=only, shown=SHOWN)


def _row(message: dict[str, Any], hits: list[dict[str, Any]]) -> dict[str, Any]:
    reason = Reason(message["reason"])
    return {
        "when": message["decided_at"][:19].replace("T", " "),
        "tracked": reason is Reason.TRACKED,
        "subject": message["subject"],
        "recipient": message["recipient"],
        "delivered": message["outcome"],
        "why": sentence(reason, {Purpose(key): Reason(value) for key, value in message["reasons"].items()}),
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
