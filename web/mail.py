"""The sender's page: their own messages and what happened to them, never whether a person refused; their setting."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ledger.errors import LedgerUnavailable
from ledger.tokens import open_sender
from policies.footer import Language
from policies.sentence import sentence
from policies.words import Purpose, Reason
from web.forms import FormTooLarge, from_elsewhere, read_form
from web.setting import save, shown
from web.site import Site

SHOWN = 200
"""Messages on the page."""
_FILTERS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "all": lambda row: True,
    "tracked": lambda row: row["tracked"],
    "untracked": lambda row: not row["tracked"],
    "loaded": lambda row: row["tracked"] and bool(row["open"]["hits"]),
    "followed": lambda row: row["tracked"] and bool(row["click"]["hits"]),
}
"""What the page can be narrowed down to. Who refused is no filter: a sender does not learn it."""


async def mail(request: Request) -> Response:
    """Show a sender's messages, by the link that was made for them; on POST save what they chose for the next ones."""
    site: Site = request.app.state.site
    sender_hash = open_sender(site.ledger.keyring, request.path_params["token"])
    if sender_hash is None:
        return site.render("no_sender.html", Language.ENGLISH, 404)
    done = ""
    try:
        if request.method == "POST":
            if from_elsewhere(request, site.public_url):
                return site.render("elsewhere.html", Language.ENGLISH, 403)
            done = await save(site.ledger, sender_hash, await read_form(request))
        return await _page(request, site, sender_hash, done)
    except FormTooLarge:
        return site.render("too_large.html", Language.ENGLISH, 413)
    except LedgerUnavailable:
        return site.render("try_again.html", Language.ENGLISH, 503, done=bool(done))


async def _page(request: Request, site: Site, sender_hash: str, done: str) -> Response:
    asked = request.query_params.get("show", "")
    only = asked if asked in _FILTERS else "all"
    messages = await site.ledger.messages(sender_hash=sender_hash, limit=SHOWN)
    hits = await site.ledger.hits(message_ids=[one["message"] for one in messages if one["reason"] == "tracked"])
    setting = shown(site.policy, await site.ledger.setting_of(sender_hash))
    rows = [_row(one, [hit for hit in hits if hit["message"] == one["message"]]) for one in messages]
    rows = [row for row in rows if _FILTERS[only](row)]
    return site.render("mail.html", Language.ENGLISH, rows=rows, show=only, shown=SHOWN, setting=setting, done=done)


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
