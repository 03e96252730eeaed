"""The upstream's side of a transaction while the client takes its time: kept alive, or told once more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.path import Recipient
from proxy.route import Limits, parse_route
from proxy.upstream import Connection
from tests.proxy.sending import Sender, until
from tests.relaying import ASKED, running_relay
from tests.upstream import FakeUpstream


async def test_slow_client_keeps_the_upstream_alive(tmp_path: Path) -> None:
    """While a client is still sending, a silent upstream hears NOOP now and then; afterwards no more."""
    limits = Limits(keep_alive=0.05)
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port, limits=limits) as running,
        Sender(running.port) as sender,
    ):
        await sender.envelope()
        await until(lambda: upstream.heard.count("NOOP") >= 2)
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.content()
    after = upstream.heard[upstream.heard.index("RCPT TO:<bob@customer.test>") + 1 :]
    assert {"NOOP"} == set(after[: after.index("DATA")])
    assert "NOOP" not in after[after.index("DATA") :]
    assert 1 == len(upstream.messages)


async def test_a_client_that_goes_away_while_noop_is_said() -> None:
    """Somebody who goes away in the very moment in which the upstream is about to hear NOOP does not cut that short."""
    async with FakeUpstream() as upstream:
        connection = await Connection.open(parse_route(f"smtp://127.0.0.1:{upstream.port}", ["*"], "relay.test"))
        saying = asyncio.create_task(connection.rcpt(Recipient("bob@customer.test")))
        asyncio.get_running_loop().call_soon(saying.cancel)
        connection.keep_alive(0.0)
        connection._look_after()
        connection.rest()
        await asyncio.wait({saying})
        assert await connection.reset()
        await connection.quit()
    assert ["NOOP", "RSET", "QUIT"] == upstream.heard[-3:]


async def test_refused_noop_means_a_fresh_connection(tmp_path: Path) -> None:
    """An upstream that has had enough while the client was sending gets the message on another connection."""
    limits = Limits(keep_alive=0.05)
    upstream = FakeUpstream(answers={"NOOP": "421 4.4.2 too slow"})
    async with (
        upstream,
        running_relay(tmp_path, upstream.port, limits=limits) as running,
        Sender(running.port) as sender,
    ):
        await sender.envelope()
        await until(lambda: "NOOP" in upstream.heard)
        # The other connection hears one, too, where the message takes a busy machine longer than that.
        upstream.answers.clear()
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.content()
    assert (1, ASKED + 2) == (len(upstream.messages), upstream.connections)


@pytest.mark.parametrize("words", ["", "421 4.4.2 timeout"], ids=["EOF", "421"])
async def test_upstream_hangs_up_while_the_client_sends(tmp_path: Path, words: str) -> None:
    """MAIL and every accepted RCPT are said once more on a fresh connection; a refused one is not."""
    upstream = FakeUpstream(answers={"RCPT TO:<no@customer.test>": "550 5.1.1 no"})
    async with upstream, running_relay(tmp_path, upstream.port) as running, Sender(running.port) as sender:
        await sender.say("MAIL FROM:<alice@example.org>")
        for name in ("no", "bob", "carol"):
            await sender.say(f"RCPT TO:<{name}@customer.test>")
        assert "354" == (await sender.say("DATA"))[:3]
        upstream.heard.clear()
        upstream.hang_up(words)
        await until(lambda: not upstream.writers)
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.content()
    assert [
        "EHLO relay.test",
        "MAIL FROM:<alice@example.org>",
        "RCPT TO:<bob@customer.test>",
        "RCPT TO:<carol@customer.test>",
        "DATA",
    ] == upstream.heard[:5]
    assert 1 == len(upstream.messages)


@pytest.mark.parametrize("changed", ["MAIL", "RCPT TO:<bob", "RCPT TO:<carol"])
async def test_told_again_and_answered_differently(tmp_path: Path, changed: str) -> None:
    """A sender or recipient that is refused the second time means 451 for the message, which goes to nobody."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        async with Sender(running.port) as sender:
            await sender.envelope("bob@customer.test", "carol@customer.test")
            upstream.answers[changed] = "550 5.1.1 not any more"
            upstream.hang_up()
            await until(lambda: not upstream.writers)
            assert (await sender.content()).startswith("451 4.4.2 The mail server behind this relay now answers")
            upstream.answers.clear()
            assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()
        assert 1 == len(await running.ledger.messages())
    assert 1 == len(upstream.messages)


async def test_upstream_hangs_up_between_two_recipients(tmp_path: Path) -> None:
    """A recipient said after the upstream went away is answered by a connection that knows the earlier ones."""
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        await sender.say("MAIL FROM:<alice@example.org>")
        await sender.say("RCPT TO:<bob@customer.test>")
        upstream.heard.clear()
        upstream.hang_up()
        await until(lambda: not upstream.writers)
        assert "250" == (await sender.say("RCPT TO:<carol@customer.test>"))[:3]
    assert ["RCPT TO:<bob@customer.test>", "RCPT TO:<carol@customer.test>"] == upstream.heard[2:4]


MANY = [f"RCPT TO:<reader{number}@customer.test>" for number in range(50)]


async def test_a_refused_sender_is_refused_at_every_recipient(tmp_path: Path) -> None:
    """However many recipients are named, each hears why the sender is refused, and the upstream is asked once."""
    refusal = "553 5.7.1 <alice@example.org>: not owned by user"
    async with (
        FakeUpstream(answers={"MAIL": refusal}) as upstream,
        running_relay(tmp_path, upstream.port) as running,
        Sender(running.port) as sender,
    ):
        await sender.say("MAIL FROM:<alice@example.org>")
        assert [refusal] * len(MANY) == [await sender.say(one) for one in MANY]
        assert 1 == upstream.count("MAIL")
        upstream.answers.clear()
        await sender.say("RSET")
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.message()


async def test_an_upstream_without_a_free_place_is_waited_for_once(tmp_path: Path) -> None:
    """Where there is no connection for the first recipient, the others hear that too, and nobody waits again."""
    limits = Limits(connections=1, patience=0.5)
    async with (
        FakeUpstream() as upstream,
        running_relay(tmp_path, upstream.port, limits=limits) as running,
        Sender(running.port) as first,
        Sender(running.port) as second,
    ):
        await first.envelope()
        await second.say("MAIL FROM:<alice@example.org>")
        assert (await second.say(MANY[0])).startswith("451 4.3.2 All connections")
        # Were it asked for another time, this recipient would now have one.
        await first.content()
        assert (await second.say(MANY[1])).startswith("451 4.3.2 All connections")
        assert (await second.say("DATA")).startswith("503 5.5.1")
        await second.say("RSET")
        assert "250 2.0.0 Ok: queued as 4XYZ" == await second.message()


@pytest.mark.parametrize("answer", ["554 5.7.1 You are blocked", "421 4.3.2 Busy"])
async def test_upstream_that_refuses_the_sender_and_hangs_up(tmp_path: Path, answer: str) -> None:
    """What the upstream says of MAIL counts, also where it hangs up on the RCPT that was sent along."""
    upstream = FakeUpstream(("PIPELINING",), {"MAIL": answer}, hang_up_on="RCPT")
    async with upstream, running_relay(tmp_path, upstream.port) as running, Sender(running.port) as sender:
        assert answer == await sender.envelope()


async def test_a_connection_lost_at_one_recipient_costs_no_other(tmp_path: Path) -> None:
    """Where the upstream hangs up on the first recipient, the next is named to it on a fresh connection."""
    upstream = FakeUpstream(hang_up_once_on="RCPT TO:<bad")
    async with upstream, running_relay(tmp_path, upstream.port) as running, Sender(running.port) as sender:
        await sender.say("MAIL FROM:<alice@example.org>")
        assert "4" == (await sender.say("RCPT TO:<bad@customer.test>"))[0]
        assert "250" == (await sender.say("RCPT TO:<bob@customer.test>"))[:3]
        assert "354" == (await sender.say("DATA"))[:3]
        assert "250 2.0.0 Ok: queued as 4XYZ" == await sender.content()
    assert 1 == len(upstream.messages)


@asynccontextmanager
async def patient_upstream() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a server that answers MAIL only once it has RCPT too, and RCPT only once nothing came for a moment."""
    heard: list[bytes] = []

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            heard.append(line)
            if line.startswith(b"EHLO"):
                writer.write(b"250-hi\r\n250 PIPELINING\r\n")
            elif line.startswith(b"MAIL"):
                heard.append(await reader.readline())
                writer.write(b"250 ok\r\n550 5.1.1 nobody\r\n")
            else:
                writer.write(b"250 ok\r\n")
        writer.close()

    server = await asyncio.start_server(session, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], heard
    server.close()


async def test_mail_and_the_first_rcpt_in_one_go(tmp_path: Path) -> None:
    """An upstream that offers PIPELINING hears MAIL and the first RCPT together, and each answer finds its way."""
    async with (
        patient_upstream() as (port, heard),
        running_relay(tmp_path, port) as running,
        Sender(running.port) as sender,
    ):
        await sender.say("MAIL FROM:<alice@example.org>")
        assert "550 5.1.1 nobody" == await sender.say("RCPT TO:<bob@customer.test>")
        assert "250 ok" == await sender.say("RCPT TO:<carol@customer.test>")
    assert b"RCPT TO:<carol@customer.test>\r\n" in heard
