"""Mailed links: one is mailed to an address, and looked at when somebody comes back with it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import links, outbox
from ledger.links import LinkKind, MailedLink
from ledger.outbox import Letter
from web.site import Site


async def mail(
    connection: AsyncConnection, site: Site, kind: LinkKind, letter: Letter, content: dict[str, Any] | None = None
) -> None:
    """Put a letter with a new link, as its ``url``, into the outbox, unless the address got enough today (W19).

    ``content`` is what the link is to remember. Whoever asked for it is not told which of the two it was.
    """
    keyring, now = site.ledger.keyring, datetime.now(UTC)
    token = await links.make(connection, keyring, kind, letter.address, now, content)
    if token is not None:
        values = {**letter.values, "url": links.url_of(site.public_url, kind, token)}
        await outbox.put(connection, keyring, replace(letter, values=values), now)


async def look(site: Site, token: str, *kinds: LinkKind) -> MailedLink | None:
    """Return the link behind a token that is still good and of one of these kinds. Raises LedgerUnavailable."""
    keyring, now = site.ledger.keyring, datetime.now(UTC)
    link = await site.ledger.read(lambda connection: links.look(connection, keyring, token, now))
    return link if link is not None and link.kind in kinds else None
