"""Agreeing with a proven mailbox: what may be agreed to, and recording it with exactly what was shown."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import chain, consent, receipt
from ledger.consent import Act, Person
from ledger.notice import Notice
from policies.consent import Assurance, Standing
from policies.footer import Language
from policies.words import Purpose
from web.forms import Form, first, ticked
from web.language import said
from web.site import Site

_AGAIN = timedelta(minutes=1)
"""Within this time a second yes is the same one."""


def offered(notice: Notice) -> list[str]:
    """Return the purposes that people are asked about: those under which anything is stored."""
    return [purpose.value for purpose in Purpose if notice.stored.get(purpose.value)]


def agreed_to(form: Form, notice: Notice) -> list[Purpose]:
    """Return the purposes whose boxes were ticked, of those that there are boxes for."""
    return [purpose for purpose in ticked(form, "agree") if purpose in offered(notice)]


async def shown_in(site: Site, form: Form, language: Language) -> Language | None:
    """Return the language in which a form showed what is still the notice in force; None where another one is by now.

    A form that names no notice is taken for one in the visitor's ``language``.
    """
    named = first(form, "notice")
    candidates: list[Language] = [language, *Language]
    for one in candidates:
        if named in ("", (await site.notice(one)).id):
            return one
    return None


async def agree(
    connection: AsyncConnection,
    site: Site,
    address: str,
    purposes: Sequence[Purpose],
    language: Language,
    how: Act,
    button: str,
) -> tuple[int, str] | None:
    """Record a grant per purpose, by the mailbox's owner, under the notice in force, and mail a receipt.

    What they have said within a minute is not said twice: the button was pressed again. Returns the chain's new head.
    """
    keyring, person, now = site.ledger.keyring, Person.of(site.ledger.keyring, address), datetime.now(UTC)
    notice = await site.ledger.said(connection, language)
    before, _ = await chain.lock(connection)
    standing, head = await consent.consent_of(connection, person), None
    for purpose in purposes:
        if _just_said(standing.on(purpose), now):
            continue
        # The box and its state as it was shown, then the button.
        label = f"☐ {notice.what[purpose.value]} · {said(button, language)}"
        act = replace(how, expression=label)
        head = await consent.grant(connection, keyring, person, [purpose], act, notice, now, site.validity)
    if site.mails:
        await receipt.put(connection, keyring, site.public_url, address, before, now)
    return head


def _just_said(standing: Standing, now: datetime) -> bool:
    """Tell whether a person has just agreed to this by themselves."""
    event = standing.event if standing.granted(now) else None
    return event is not None and event.assurance is Assurance.MAILBOX_PROVEN and now - event.at < _AGAIN


def by_owner(method: str, expression: str = "", point: str | None = None, request: str | None = None) -> Act:
    """Return how something was said by somebody whose mailbox is proven."""
    return Act(
        "data_subject",
        method,
        Assurance.MAILBOX_PROVEN,
        expression,
        collection_point=point,
        request=request,
    )
