"""The throttle: who guesses passwords is slowed down, and has upstream or password check asked a few times only.

Distinct secrets are counted, per account, per network and for both together: a program that tries the same wrong
password for ever counts once. A network that never failed is not slowed down, whatever others do to the account.
"""

import asyncio
import ipaddress
import math
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ledger.attempts import KEPT, SUCCESS, Attempt
from ledger.errors import LedgerUnavailable
from ledger.ledger import Ledger
from policies.address import folded
from proxy.auth import WRONG, Login, Throttled, Verifier
from proxy.reply import Reply, ReplyError, reply
from proxy.sasl import Ask, Credential

FREE_TRIES = 3
"""Wrong secrets of one account from one network before there is a wait."""
FREE_OF_NETWORK = 10
"""Of all accounts from one network."""
FREE_OF_ACCOUNT = 10
"""Of one account from all networks: then one wrong secret makes a network wait."""
FREE_OF_KNOWN = 10
"""Of one account from a network where it has logged in within the day."""
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)
SAME_WAIT = timedelta(minutes=2)
"""How long the same wrong secret is answered without anybody being asked."""
AHEAD = timedelta(minutes=1)
"""How far another machine's clock may be ahead. What is noted for later than that was noted while a clock was wrong."""
RENEWED = timedelta(hours=1)
"""How old the note of a success may be before it is written anew."""
HANDOVER_SECONDS = 2.0
DECIDED_SECONDS = 30.0
"""How long an attempt waits for others under way, which would keep it from being made if all of them failed."""
_MAX_OWN = 10_000
_Key = tuple[str, str, str]
_NETWORK_BITS = {4: 24, 6: 56}
"""What one customer of a provider usually has."""


def network_of(client: str) -> str:
    """Return the network of a client's address; of what is no address, itself."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    address = getattr(address, "ipv4_mapped", None) or address
    return str(ipaddress.ip_network((address, _NETWORK_BITS[address.version]), strict=False))


@dataclass(frozen=True, slots=True)
class _Counted:
    """How many wrong secrets there were lately, and when the latest."""

    count: int
    latest: datetime | None

    def wait(self, free: int, now: datetime) -> timedelta:
        """Return how long there is to wait: twice as long for every one more, from the latest on."""
        if self.latest is None or self.count < free:
            return timedelta()
        doubled = FIRST_WAIT * (1 << min(self.count - free, 16))
        return self.latest + min(doubled, LONGEST_WAIT) - now


def _count(failures: Iterable[Attempt]) -> _Counted:
    found = {(one.account, one.network, one.secret): one.at for one in failures}
    return _Counted(len(found), max(found.values(), default=None))


def wait_for(attempt: Attempt, before: Iterable[Attempt]) -> timedelta:
    """Return how long an attempt has to wait, after those before it; nothing or less means not at all."""
    before = [one for one in before if one.at <= attempt.at + AHEAD]
    failures = [one for one in before if one.secret not in (SUCCESS, attempt.secret)]
    as_account = [one for one in failures if one.account == attempt.account]
    both = _count(one for one in as_account if one.network == attempt.network)
    pair = (attempt.account, attempt.network)
    if any(one.secret == SUCCESS and (one.account, one.network) == pair for one in before):
        return both.wait(FREE_OF_KNOWN, attempt.at)
    network = _count(one for one in failures if one.network == attempt.network)
    # Counted over all networks, but waited from this one's own latest: no attack from elsewhere makes it longer.
    account = replace(both, count=len(as_account))
    waits = (
        both.wait(FREE_TRIES, attempt.at),
        network.wait(FREE_OF_NETWORK, attempt.at),
        account.wait(FREE_OF_ACCOUNT, attempt.at),
    )
    return max(waits)


class Throttle:
    """Stands before a verifier."""

    def __init__(self, verifier: Verifier, ledger: Ledger) -> None:
        self._verifier = verifier
        self._ledger = ledger
        self._own: dict[tuple[str, str, str], Attempt] = {}
        """What this process knows: attempts under way too, and those that the ledger could not take."""
        self._wrong: dict[tuple[str, str, str], tuple[Reply, datetime]] = {}
        """What was said to a wrong secret, and when, to say the same again."""
        self._under_way: Counter[_Key] = Counter()
        self._decision = asyncio.Event()
        """Set when an attempt that was under way is so no more; then there is another."""
        self._background: set[asyncio.Task[bool]] = set()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The ways to log in that are offered."""
        return self._verifier.mechanisms

    async def verify(self, credential: Credential, client: str, ask: Ask) -> tuple[Reply, Login | None]:
        """Return what the verifier says, where it may be asked. Raises Throttled where not, and what it raises."""
        attempt, loop = self._attempt(credential, client), asyncio.get_running_loop()
        until = loop.time() + DECIDED_SECONDS
        while True:
            theirs = await self._known(attempt)
            # From here to where the attempt is noted nothing is awaited: of many at once, each sees those before it.
            before = [*theirs, *self._own_like(attempt)]
            wrong = self._said_before(attempt, theirs)
            if wrong is not None:
                return wrong, None
            if self._may_be_made(attempt, before, patient=loop.time() < until):
                break
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._decision.wait()
            attempt = replace(attempt, at=datetime.now(UTC))
        self._note(attempt)
        try:
            return await self._asked(attempt, before, credential, client, ask)
        finally:
            self._decided(attempt)

    def _may_be_made(self, attempt: Attempt, before: list[Attempt], *, patient: bool) -> bool:
        """Tell whether an attempt may be made now; False where that hangs on other people's that are under way.

        Raises Throttled where so many failed that it may not, or where it is not to be patient.
        """
        wait = wait_for(attempt, before)
        if wait <= timedelta():
            return True
        # Of one account it is guessing; of many, an office in the morning.
        failed = [one for one in before if one.account == attempt.account or _key(one) not in self._under_way]
        if patient and wait_for(attempt, failed) <= timedelta():
            return False
        minutes = math.ceil(wait / timedelta(minutes=1))
        raise Throttled(reply(454, f"4.7.0 Too many failed logins; try again in {minutes} min"))

    def _decided(self, attempt: Attempt) -> None:
        """Let those who wait know that one attempt is under way no more."""
        key = _key(attempt)
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
        self._decision.set()
        self._decision = asyncio.Event()

    def _attempt(self, credential: Credential, client: str) -> Attempt:
        keyring = self._ledger.keyring
        account = folded(credential.user).encode("utf-8", "surrogatepass")
        return Attempt(
            keyring.attempt("account", account),
            keyring.attempt("network", network_of(client).encode("utf-8", "surrogatepass")),
            keyring.attempt("secret", account + b"\0" + credential.secret),
            datetime.now(UTC),
        )

    async def _known(self, attempt: Attempt) -> list[Attempt]:
        try:
            return await self._ledger.attempts(attempt.account, attempt.network)
        except LedgerUnavailable:
            # Then what this process knows is all.
            return []

    def _own_like(self, attempt: Attempt) -> list[Attempt]:
        since = attempt.at - KEPT
        return [
            one
            for one in self._own.values()
            if one.at > since and (one.account == attempt.account or one.network == attempt.network)
        ]

    def _said_before(self, attempt: Attempt, theirs: list[Attempt]) -> Reply | None:
        """Return what was said to this very secret, if it was wrong a moment ago; the words are not known of others."""
        since, until, key = attempt.at - SAME_WAIT, attempt.at + AHEAD, _key(attempt)
        said, at = self._wrong.get(key, (WRONG, since))
        times = [at, *(one.at for one in theirs if _key(one) == key)]
        return said if any(since < one <= until for one in times) else None

    def _note(self, attempt: Attempt) -> None:
        """Count an attempt as failed until it is known better: a client that hangs up gains nothing."""
        key = _key(attempt)
        self._forget(key)
        self._own[key] = attempt
        self._under_way[key] += 1
        while len(self._own) > _MAX_OWN:
            self._forget(next(iter(self._own)))

    def _remember(self, attempt: Attempt, answer: Reply) -> None:
        self._wrong.pop(_key(attempt), None)
        self._wrong[_key(attempt)] = (answer, attempt.at)
        if len(self._wrong) > _MAX_OWN:
            del self._wrong[next(iter(self._wrong))]

    def _forget_one(self, attempt: Attempt) -> None:
        if self._own.get(_key(attempt)) is attempt:
            self._forget(_key(attempt))

    def _forget(self, key: tuple[str, str, str]) -> None:
        self._own.pop(key, None)

    async def _asked(
        self, attempt: Attempt, before: list[Attempt], credential: Credential, client: str, ask: Ask
    ) -> tuple[Reply, Login | None]:
        try:
            answer, login = await self._verifier.verify(credential, client, ask)
        except ReplyError as error:
            if error.reply.code < 500:
                self._forget(_key(attempt))
            raise
        if login is not None:
            self._succeeded(attempt, before)
        elif answer.code < 500 or answer.code == 504:
            self._forget(_key(attempt))
        else:
            self._remember(attempt, answer)
            if await self._ledger.record_attempt(attempt):
                # From now on it is known from there, also if it is forgotten there. Not at once: who is waiting for the
                # ledger's answer at this moment will not find it in that.
                asyncio.get_running_loop().call_later(HANDOVER_SECONDS, self._forget_one, attempt)
        return answer, login

    def _succeeded(self, attempt: Attempt, before: list[Attempt]) -> None:
        """Forget what failed as this account from this network, and note the success; nobody waits for that."""
        for key in [key for key in self._own if key[:2] == (attempt.account, attempt.network)]:
            self._forget(key)
        for key in [key for key in self._wrong if key[:2] == (attempt.account, attempt.network)]:
            del self._wrong[key]
        success = replace(attempt, secret=SUCCESS)
        self._own[_key(success)] = success
        here = [one for one in before if _key(one)[:2] == _key(attempt)[:2]]
        if [one.secret for one in here if one.at > attempt.at - RENEWED] == [SUCCESS] and len(here) == 1:
            return
        task = asyncio.get_running_loop().create_task(self._ledger.record_attempt(success))
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _key(attempt: Attempt) -> tuple[str, str, str]:
    return attempt.account, attempt.network, attempt.secret
