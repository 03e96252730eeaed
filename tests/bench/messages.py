"""Whole messages: from the bytes that came to the bytes that go, by the code that the relay runs."""

import asyncio
import tracemalloc
from time import perf_counter

from aboveboard.explain import assumed_consent
from ledger.keys import Keyring
from ledger.reader import Known
from ledger.tokens import Marks, OwnTokens, new_message_id
from policies import PolicyModel, Purpose, compile_policy
from policies.envelope import Envelope
from proxy.footer import Footer
from proxy.links import link_rules
from proxy.message import Reading, read_message
from proxy.relay import Conduct, examine, rewriting
from proxy.rewrite import tracked
from proxy.slices import in_slices
from proxy.trackers import Watch
from proxy.vendors import load_rules
from tests.bench.samples import bench_message, best, large_messages

PUBLIC_URL = "https://track.example.org"
RECEIVED = b"Received: by relay.example.org with ESMTPS id 0123456789abcdef; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
KEYS = Keyring.throwaway()
CONDUCT = Conduct(
    compile_policy(PolicyModel(), ["example.org"]),
    Reading(link_rules(False, [], [PUBLIC_URL]), tokens=OwnTokens(KEYS), watch=Watch(load_rules())),
    Footer("Example GmbH"),
    PUBLIC_URL,
    "relay.example.org",
)
ENVELOPE = Envelope("alice@example.org", ("reader@customer.test",))
CONSENT = Known(assumed_consent(frozenset(Purpose)))


async def look_up(*_: str) -> Known:
    """Everybody agrees to everything, and nobody saved anything."""
    return CONSENT


async def prepare(raw: bytes) -> None:
    """Do to a message what the relay does between the client's final dot and the upstream's DATA, ledger aside."""
    examined = await examine(CONDUCT, raw, ENVELOPE, look_up)
    marks = Marks(KEYS, PUBLIC_URL, new_message_id(), ENVELOPE.rcpt_to[0])
    examined, outgoing = await in_slices(rewriting(CONDUCT, examined, marks))
    assert examined.decision.tracked, examined.decision.reason
    outgoing.behind(RECEIVED)


async def prepared(raw: bytes, repeats: int) -> tuple[float, float]:
    """Return the least time that a message took, and its longest stretch without a turn for others, in seconds."""
    stalls: list[float] = []

    async def others() -> None:
        at = perf_counter()
        while True:
            await asyncio.sleep(0)
            stalls[-1] = max(stalls[-1], perf_counter() - at)
            at = perf_counter()

    times = []
    for _ in range(repeats):
        stalls.append(0.0)
        task = asyncio.create_task(others())
        await asyncio.sleep(0)
        start = perf_counter()
        await prepare(raw)
        times.append(perf_counter() - start)
        await asyncio.sleep(0)
        task.cancel()
    return min(times), min(stalls)


def copies(raw: bytes) -> float:
    """Return how much memory preparing takes at its peak, the message itself aside, in messages."""
    tracemalloc.start()
    asyncio.run(prepare(raw))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / len(raw)


def table() -> None:
    """Print milliseconds for the benchmark message, and for messages of 25 MB with stalls and memory."""
    raw = bench_message()
    message = read_message(raw, CONDUCT.reading)
    examined = asyncio.run(examine(CONDUCT, raw, ENVELOPE, look_up))
    marks = Marks(KEYS, PUBLIC_URL, new_message_id(), ENVELOPE.rcpt_to[0])
    facts = best(lambda: read_message(raw, CONDUCT.reading))
    rewriting_ = best(lambda: tracked(message, examined.decision, marks, CONDUCT.footer).behind(RECEIVED))
    whole, _ = asyncio.run(prepared(raw, 300))
    print(f"Message of {len(raw) // 1000} kB, {message.facts.links} links, {message.bodies[0].entity.part.encoding}")
    print(f"  facts {facts * 1e3:.2f} ms, rewriting {rewriting_ * 1e3:.2f} ms, with the decision {whole * 1e3:.2f} ms")
    print("Messages of 25 MB: facts, decision, rewriting")
    print(f"  {'':32}{'ms':>8}{'longest stall, ms':>20}{'copies':>8}")
    for name, large in large_messages().items():
        seconds, stall = asyncio.run(prepared(large, 5))
        print(f"  {name:32}{seconds * 1e3:8.1f}{stall * 1e3:20.1f}{copies(large):8.2f}")
