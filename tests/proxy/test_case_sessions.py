"""The numbered cases that need a session: what is recorded, what the wire does to a message, a signature behind us."""

import asyncio
import base64
import binascii
import hashlib
import re
import smtplib
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from policies import Purpose
from tests.proxy.test_cases import FOLDER
from tests.relaying import Running, running_relay
from tests.upstream import FakeUpstream

EOL = b"\r\n"


def submit(port: int, raw: bytes, *recipients: str) -> None:
    """Hand in a message as a mail program does."""
    with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=10) as client:
        options = ["BODY=8BITMIME"] if client.has_extn("8bitmime") or not raw.isascii() else []
        client.sendmail("max@example.org", recipients or ("ada@client.example",), raw, mail_options=options)


async def send(running: Running, name: str, *recipients: str) -> None:
    """Hand in the message of a case."""
    await asyncio.to_thread(submit, running.port, (FOLDER / f"{name}.in.eml").read_bytes(), *recipients)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("consent-unknown", "no_consent"),
        ("to-and-cc", "group"),
        ("precedence-bulk", "bulk"),
        ("list-id", "list"),
        ("auto-replied", "automated"),
        ("smime-detached", "protected"),
        ("text-only", "plain_text"),
        ("charset-unknown", "unparsable"),
        ("deep-nesting", "unparsable"),
    ],
)
async def test_every_decision_is_recorded_once(tmp_path: Path, name: str, reason: str) -> None:
    """Case 12: one row for a message and its recipient, with the reason that the sender is shown."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await send(running, name)
        recorded = await running.ledger.messages()
    assert [reason] == [one["reason"] for one in recorded]
    assert 1 == len(upstream.messages)


@pytest.mark.parametrize("name", ["dots", "dots-encoded"])
@pytest.mark.parametrize("agreed", [False, True], ids=["untracked", "tracked"])
async def test_dots_on_the_wire(tmp_path: Path, name: str, agreed: bool) -> None:
    """Case 65: lines that begin with a dot arrive as they were sent, tracked or not."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        if agreed:
            await running.agree("ada@client.example")
        await send(running, name)
    raw = (FOLDER / f"{name}.in.eml").read_bytes()
    lines = [line for line in upstream.messages[0].split(EOL) if line.startswith(b".")]
    assert [line for line in raw.split(EOL) if line.startswith(b".")] == lines
    assert agreed == (b"/o/" in upstream.messages[0].replace(b"=\r\n", b""))


async def test_headers_over_64_kilobytes_on_the_wire(tmp_path: Path) -> None:
    """Case 61: a To field of more than 64 KB goes through byte for byte."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await send(running, "long-to")
    assert (FOLDER / "long-to.in.eml").read_bytes() == upstream.messages[0].partition(EOL)[2]


# A signer of our own, by RFC 6376 §3.4 and RFC 8463, for the upstream that signs what we hand it.
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SIGNED = (b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type")


def canonical_header(line: bytes, relaxed: bool) -> bytes:
    """Return a header field as a signature covers it (RFC 6376 §3.4.1 and §3.4.2)."""
    if not relaxed:
        return line
    name, _, value = line.partition(b":")
    return name.strip().lower() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(EOL, b"")).strip() + EOL


def canonical_body(body: bytes, relaxed: bool) -> bytes:
    """Return the body as a signature covers it (RFC 6376 §3.4.3 and §3.4.4)."""
    if relaxed:
        body = re.sub(rb"[ \t]+(?=\r\n)", b"", re.sub(rb"[ \t]+", b" ", body))
    body = body.rstrip(EOL) + EOL
    return b"" if relaxed and body == EOL else body


def covered(raw: bytes, signature: bytes, relaxed: bool) -> bytes:
    """Return what is signed: the chosen header fields and the signature's own, without its value."""
    header = raw.partition(EOL + EOL)[0] + EOL
    fields = {
        line.partition(b":")[0].strip().lower(): line for line in re.split(rb"(?<=\r\n)(?![ \t])", header) if line
    }
    found = b"".join(canonical_header(fields[name], relaxed) for name in SIGNED)
    return found + canonical_header(signature + EOL, relaxed).removesuffix(EOL)


def with_signature(raw: bytes, relaxed: bool) -> bytes:
    """Return the message with a DKIM signature in front."""
    body = raw.partition(EOL + EOL)[2]
    digest = base64.b64encode(hashlib.sha256(canonical_body(body, relaxed)).digest())
    how = b"relaxed/relaxed" if relaxed else b"simple/simple"
    empty = b"DKIM-Signature: v=1; a=ed25519-sha256; c=%s; d=example.org; s=x; h=%s;\r\n bh=%s; b="
    empty %= how, b":".join(SIGNED), digest
    proof = KEY.sign(hashlib.sha256(covered(raw, empty, relaxed)).digest())
    return empty + base64.b64encode(proof) + EOL + raw


def verifies(raw: bytes, key: Ed25519PublicKey) -> bool:
    """Tell whether the signature in front of a message holds."""
    match = re.match(rb"(DKIM-Signature: .*?c=(\w+)/.*?bh=([^;]+); b=)([^\r]+)\r\n", raw, re.DOTALL)
    assert match is not None
    rest, relaxed = raw[match.end() :], match[2] == b"relaxed"
    body = hashlib.sha256(canonical_body(rest.partition(EOL + EOL)[2], relaxed)).digest()
    try:
        key.verify(binascii.a2b_base64(match[4]), hashlib.sha256(covered(rest, match[1], relaxed)).digest())
    except InvalidSignature:
        return False
    return base64.b64encode(body) == match[3]


@pytest.mark.parametrize("relaxed", [True, False], ids=["relaxed", "simple"])
@pytest.mark.parametrize("name", ["quoted-printable", "base64", "eight-bit", "long-line"])
async def test_a_signature_behind_us_verifies(tmp_path: Path, name: str, relaxed: bool) -> None:
    """Case 34: what the upstream signs of a tracked message still verifies after one more hop."""
    async with FakeUpstream() as upstream, running_relay(tmp_path, upstream.port) as running:
        await running.agree("ada@client.example", Purpose.OPEN, Purpose.CLICK)
        await send(running, name)
    signed = with_signature(upstream.messages[0].partition(EOL)[2], relaxed)
    # The hop is a relay like ours: it leaves alone what is signed.
    (tmp_path / "hop").mkdir()
    async with FakeUpstream() as last, running_relay(tmp_path / "hop", last.port) as hop:
        await asyncio.to_thread(submit, hop.port, signed)
    arrived = last.messages[0].partition(EOL)[2]
    assert b"/o/" in arrived.replace(b"=\r\n", b"") or name == "base64"
    assert max(map(len, arrived.split(EOL))) <= 998
    assert verifies(arrived, KEY.public_key())
    assert not verifies(arrived[:-4] + b"x" + arrived[-4:], KEY.public_key())
