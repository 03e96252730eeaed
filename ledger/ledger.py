"""The ledger as the relay, the web and the command see it: ask, record, look up. One per process and event loop."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import (
    aging,
    audit,
    consent,
    decisions,
    domains,
    hits,
    inviting,
    notices,
    outbox,
    patience,
    receipt,
    requests,
    senders,
    subject,
    versions,
)
from ledger.audit import Period
from ledger.chronicle import Chronicle
from ledger.consent import Act, Person
from ledger.errors import LedgerUnavailable
from ledger.inviting import Invitation
from ledger.logins import Logins
from ledger.notice import Notice
from ledger.outbox import Letter
from ledger.requests import CaseKind
from ledger.retention import purge
from ledger.schema import access, stamp
from ledger.senders import Saved, Setting
from ledger.store import LedgerSettings, login, utc_now
from ledger.traffic import Traffic
from ledger.versions import PolicyVersion
from policies.consent import Consent
from policies.footer import Language
from policies.words import Purpose

__all__ = ["Ledger", "LedgerSettings", "login"]


class Ledger(Traffic, Chronicle, Logins):
    """What is remembered. Use it as an async context manager."""

    async def grant(
        self, address: str, purposes: Sequence[Purpose], act: Act, language: Language = Language.ENGLISH
    ) -> None:
        """Record a grant under the notice in force, and mail a receipt. Raises ConsentRefused or LedgerUnavailable."""
        person = Person.of(self.keyring, address)
        validity, url = self._settings.periods.consent, self._settings.letters_url

        async def work(connection: AsyncConnection) -> tuple[int, str]:
            said, now = await self.said(connection, language), utc_now()
            head = await consent.grant(connection, self.keyring, person, purposes, act, said, now, validity)
            if url is not None:
                await receipt.put(connection, self.keyring, url, address, head[0] - len(purposes), now)
            return head

        await self.append(work)

    async def refuse(
        self,
        person: Person,
        purposes: Sequence[Purpose],
        act: Act,
        *,
        keep_hits: bool = False,
        language: Language = Language.ENGLISH,
        told: Callable[[str], Letter] | None = None,
    ) -> bool:
        """Record a refusal, and delete these purposes' hits unless they are to be kept. Raises LedgerUnavailable.

        Returns False where everything had been refused already. ``told`` makes the letter by which the person hears
        of a refusal that was new, where their address is known.
        """

        async def work(connection: AsyncConnection) -> tuple[int, str] | None:
            said = await self.said(connection, language)
            head = await consent.refuse(connection, self.keyring, person, purposes, act, said, utc_now())
            if not keep_hits:
                await hits.forget(connection, person.folded_hash, purposes)
            address = await self._known_address(connection, person) if head is not None and told is not None else None
            if address is not None and told is not None:
                await outbox.put(connection, self.keyring, told(address), utc_now())
            return head

        return await self.append(work)

    async def refuse_domain(self, domain: str, act: Act, *, keep_hits: bool = False) -> bool:
        """Record that a whole domain refuses, and delete the hits from there unless they are to be kept.

        Returns False where it refused already. Raises LedgerUnavailable.
        """

        async def work(connection: AsyncConnection) -> tuple[int, str] | None:
            said = await self.said(connection, Language.ENGLISH)
            return await domains.refuse(connection, self.keyring, domain, act, said, utc_now())

        new = await self.append(work)
        if not keep_hits:
            # A hit that was allowed just before is on disk by then.
            await asyncio.sleep(patience.LATE_SECONDS)
            hashes = [self.keyring.domain(domain)]
            gone = await self.read(lambda connection: hits.messages_of_domains(connection, self.keyring, hashes))
            await self.job(lambda connection: hits.forget_of(connection, gone))
        return new

    async def lift_domain(self, domain: str, act: Act) -> bool:
        """Record that a domain's refusal is taken back; tell whether there was one. Raises LedgerUnavailable."""

        async def work(connection: AsyncConnection) -> tuple[int, str] | None:
            said = await self.said(connection, Language.ENGLISH)
            return await domains.lift(connection, self.keyring, domain, act, said, utc_now())

        return await self.append(work)

    async def refusing_domains(self) -> list[dict[str, Any]]:
        """Return the domains that refuse, the oldest entry first. Raises LedgerUnavailable."""
        return await self.read(lambda connection: domains.listed(connection, self.keyring))

    async def notice(self, language: Language = Language.ENGLISH) -> Notice:
        """Return the notice in force. Raises LedgerUnavailable."""
        return await self.read(lambda connection: notices.in_force(connection, self._settings.teller, language))

    async def add_notice(self, content: str, by: str) -> notices.Added:
        """Put a notice of the organisation's own in force. Raises LedgerError for one that does not say enough."""
        return await self.job(lambda connection: notices.add(connection, self._settings.teller, content, by, utc_now()))

    async def notices(self) -> list[dict[str, Any]]:
        """Return every notice on record, newest first. Raises LedgerUnavailable."""
        return await self.read(notices.listed)

    async def invite(self, one: Invitation) -> bool:
        """Put an invitation on record, if nobody else asks that person, and tell whether it may go out. Never raises.

        Where the ledger does not say so in time it may not, and the question is taken back.
        """
        waiting = self._writer.pile("invitation", inviting.reserve, one)
        try:
            await self._patience.watch(waiting)
        except (LedgerUnavailable, TimeoutError) as error:
            self._complain("invitation", error)
            self.not_invited(one)
            return False
        return one.reserved

    def invited(self, one: Invitation) -> None:
        """Have it recorded in the chain that somebody was asked; nobody waits for it."""

        async def work(connection: AsyncConnection) -> tuple[int, str] | None:
            return await inviting.record(connection, self.keyring, one, await self.said(connection, one.language))

        self._later(asyncio.ensure_future(self.append(work)))

    def not_invited(self, one: Invitation) -> None:
        """Take a question back that did not go out."""
        self._later(self._writer.pile("invitation back", inviting.take_back, one, awaited=False))

    async def standing(self, person: Person) -> Consent:
        """Return where a person stands, also by what their whole domain said. Raises LedgerUnavailable."""

        async def work(connection: AsyncConnection) -> Consent:
            # Known by a token from a mail, only: whose domain it is stands where their address does.
            address = person.address or await self._known_address(connection, person)
            known = replace(person, domains=consent.domains(self.keyring, address) if address is not None else ())
            if known.exact_hash is None:
                return await consent.consent_in_any_spelling(connection, known, utc_now())
            return await consent.consent_of(connection, known)

        return await self.read(work)

    async def history(self, person: Person, *, wider: bool = False) -> list[dict[str, Any]]:
        """Return every consent event of a person, oldest first; ``wider``: of their domains too.

        Raises LedgerUnavailable.
        """
        return await self.read(lambda connection: consent.history(connection, self.keyring, person, wider=wider))

    async def known_address(self, person: Person) -> str | None:
        """Return the person's address where the ledger still has it. Raises LedgerUnavailable."""
        return await self.read(lambda connection: self._known_address(connection, person))

    async def _known_address(self, connection: AsyncConnection, person: Person) -> str | None:
        events = await consent.history(connection, self.keyring, person)
        known = [event["address"] for event in events if event["address"]]
        return known[-1] if known else await decisions.recipient_of(connection, self.keyring, person.folded_hash)

    async def holdings(self, person: Person) -> dict[str, int]:
        """Return how many messages and hits of a person are on record. Raises LedgerUnavailable."""
        return await self.read(lambda connection: hits.holdings(connection, person.folded_hash))

    async def copy_of(self, person: Person) -> dict[str, Any]:
        """Return everything on record about a person. Raises LedgerUnavailable."""
        return await self.read(lambda connection: subject.copy_of(connection, self.keyring, person, utc_now()))

    async def erase(self, person: Person, act: Act, language: Language = Language.ENGLISH) -> subject.Summary:
        """Remove everything about a person, and return what went and what stays. Raises LedgerUnavailable."""
        summary: subject.Summary = {}

        async def work(connection: AsyncConnection) -> tuple[int, str] | None:
            said = await self.said(connection, language)
            head, done = await subject.erase(connection, self.keyring, person, act, said, utc_now())
            summary.update(done)
            return head

        await self.append(work)
        # What was decided upon before, and is only now recorded, must not bring the address back.
        await asyncio.sleep(patience.LATE_SECONDS)
        await self.job(lambda connection: subject.remove_late(connection, person.folded_hash))
        await self._database.settle()
        return summary

    async def open_case(self, kind: CaseKind, address: str, text: str, language: Language = Language.ENGLISH) -> str:
        """Open a case for a person and return its number. Raises LedgerUnavailable."""
        person, calendar = Person.of(self.keyring, address), self._settings.calendar

        async def work(connection: AsyncConnection) -> str:
            return await requests.open_case(
                connection, self.keyring, kind, person, address, text, utc_now(), calendar, language=language
            )

        return await self.job(work)

    async def never_agreed(self, address: str, act: Act, language: Language = Language.ENGLISH) -> str:
        """Record that a person never agreed, and return the number of the case about it. Raises LedgerUnavailable.

        Every grant of theirs is invalid from now on, and where one came with an import, all of that import rest.
        """
        person, numbers = Person.of(self.keyring, address), list[str]()

        async def work(connection: AsyncConnection) -> tuple[int, str] | None:
            said, now = await self.said(connection, language), utc_now()
            head, batch = await consent.invalidate(connection, self.keyring, person, act, said, now)
            kind, calendar = CaseKind.INVALID_GRANT, self._settings.calendar
            opened = await requests.open_case(
                connection, self.keyring, kind, person, address, act.expression, now, calendar, batch, language
            )
            numbers.append(opened)
            return head

        await self.append(work)
        return numbers[-1]

    async def messages(self, *, sender_hash: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Return messages, newest first; with a hash, that sender's only. Raises LedgerUnavailable."""
        return await self.read(
            lambda connection: decisions.messages(connection, self.keyring, sender_hash=sender_hash, limit=limit)
        )

    async def hits(self, *, message_ids: Iterable[str] | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """Return hits, newest first; with ids, those of these messages only. Raises LedgerUnavailable."""
        return await self.read(
            lambda connection: hits.hits(connection, self.keyring, message_ids=message_ids, limit=limit)
        )

    async def setting_of(self, sender_hash: str) -> Setting | None:
        """Return what a sender saved for their messages, or None. Raises LedgerUnavailable."""
        return await self.read(lambda connection: senders.setting_of(connection, sender_hash))

    async def save_setting(self, sender_hash: str, purposes: Saved | None) -> None:
        """Keep what a sender chose for their messages; None keeps nothing. Raises LedgerUnavailable."""
        await self.job(lambda connection: senders.save(connection, sender_hash, purposes, utc_now()))

    async def record_policy(self, one: PolicyVersion) -> None:
        """Keep a version of the policy that begins to rule. Raises LedgerUnavailable."""
        await self.job(lambda connection: versions.record(connection, one))

    async def policy(self, version: str) -> dict[str, Any] | None:
        """Return a version of the policy in full, or None for one that never ruled. Raises LedgerUnavailable."""
        return await self.read(lambda connection: versions.find(connection, version))

    async def audit(self, period: Period, *, reveal: bool = False) -> dict[str, Any]:
        """Return the report over a period; ``reveal`` names senders. Raises LedgerUnavailable."""
        return await self.read(lambda connection: audit.report(connection, self.keyring, period, reveal=reveal))

    async def record_access(self, action: str, reason: str | None = None) -> None:
        """Record that an administrator looked at what is recorded, and why. Raises LedgerUnavailable."""
        at = stamp(utc_now())
        row = {"id": secrets.token_hex(16), "at": at, "actor": login(), "action": action, "reason": reason}

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(access), [row])

        await self.job(work)

    async def purge(self) -> dict[str, int]:
        """Remove what is over its time, and return how much of each kind. Raises LedgerUnavailable."""
        return await self.job(lambda connection: purge(connection, self._settings.periods, utc_now()))

    async def purge_events(self) -> int:
        """Remove consent events that are over their time, and return how many. Raises LedgerUnavailable."""
        period, now = self._settings.periods.consent_events, utc_now()
        found = await self.read(lambda connection: aging.over(connection, period, now))
        if not found.people:
            return 0
        return await self.job(lambda connection: aging.purge(connection, self.keyring, found, period, now))

    async def answers(self) -> bool:
        """Tell whether the ledger answers within its patience."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(select(1))

        try:
            await asyncio.wait_for(self.read(work), patience.PATIENCE)
        except (LedgerUnavailable, TimeoutError):
            return False
        return True
