"""What strangers write is not kept: a process that runs for months holds no more for all the names it was told."""

import gc
import itertools
import tracemalloc
from collections.abc import Callable

import pytest

from aboveboard.explain import assumed_consent
from ledger.keys import Keyring
from ledger.reader import Known
from ledger.tokens import Marks
from policies import Envelope, Purpose
from proxy.relay import Conduct, examine, rewrite
from tests.relaying import conduct

LONG = 8_000
MESSAGES = 40
KEPT = 1_000
"""Octets that may be left of a message, at most: of a name of 8 000 there is nothing."""
KEYRING = Keyring.throwaway()
READER = "reader@customer.test"
NAMES = (f"{number:x<{LONG}}" for number in itertools.count())
"""Each is used once, in all tests together: what was kept of one would be found again."""


def _mail(fields: str = "", to: str = READER, charset: str = "utf-8", href: str = "https://customer.test/") -> bytes:
    return (
        f"From: alice@example.org\r\nTo: {to}\r\n{fields}MIME-Version: 1.0\r\n"
        f'Content-Type: text/html; charset={charset}\r\n\r\n<p>See <a href="{href}">this</a>.</p>\r\n'
    ).encode()


async def _agreed(*_: object) -> Known:
    return Known(assumed_consent(frozenset(Purpose)))


async def _pass(conduct: Conduct, raw: bytes) -> None:
    examined = await examine(conduct, raw, Envelope("alice@example.org", (READER,)), _agreed)
    rewrite(conduct, examined, Marks(KEYRING, conduct.public_url, "0" * 32, READER))


@pytest.mark.parametrize(
    "mail",
    [
        pytest.param(lambda name: _mail(charset=name), id="charset"),
        pytest.param(lambda name: _mail(f"Subject: =?{name}?q?a?=\r\n"), id="charset of an encoded word"),
        pytest.param(lambda name: _mail(to=f"{name}@customer.test"), id="mailbox"),
        pytest.param(lambda name: _mail(to=f"a@{name}.test"), id="domain of a mailbox"),
        pytest.param(lambda name: _mail(href=f"https://{name}.test/"), id="host of a link"),
        pytest.param(lambda name: _mail(f"X-{name}: a\r\n"), id="name of a field"),
        pytest.param(lambda name: _mail(f"List-Unsubscribe: <https://{name}.test/>\r\n"), id="List-Unsubscribe"),
    ],
)
async def test_names_that_strangers_make_up_are_not_kept(mail: Callable[[str], bytes]) -> None:
    """However many messages come, each with a long name of its own, nothing of them stays in memory."""
    made = conduct()
    await _pass(made, mail(next(NAMES)))
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(MESSAGES):
            await _pass(made, mail(next(NAMES)))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / MESSAGES < KEPT
