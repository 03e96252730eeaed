"""Which rules apply: every kind of condition by itself, and the indexes against a reader who looks rule by rule."""

import ipaddress
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from fnmatch import translate
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.condition import Asked
from policies.envelope import Envelope
from policies.facts import Facts, Part
from policies.matching import Applying, Rules
from policies.policy import PolicyModel
from policies.words import ForeignTracking, MessageClass, Purpose

NOW = datetime(2026, 6, 3, 12, 30, tzinfo=UTC)
"""A Wednesday; half past two in Berlin."""
LABEL = "MSIP_Label_2A7B_Enabled=true; MSIP_Label_2A7B_Name=Confidential; MSIP_Label_2A7B_ContentBits=1"


def part(content_type: str, disposition: str = "", *, named: bool = False) -> Part:
    """Return a part of which only what makes it an attachment matters."""
    return Part(0, 0, 0, 1, content_type, "", "7bit", disposition, named, in_body=not named)


FACTS = Facts(
    size=5_000,
    fields={"subject": ("Our offer",), "x-department": ("HR South", "Payroll"), "msip_labels": (LABEL,)},
    parts=(part("multipart/mixed"), part("text/html"), part("application/pdf", "attachment", named=True)),
)
ENVELOPE = Envelope("Jane@example.org", ("Anna@Press.example",), listener="127.0.0.1:1587", client="10.1.2.3")


def applying(
    *rules: dict[str, Any],
    facts: Facts = FACTS,
    envelope: Envelope = ENVELOPE,
    message_class: MessageClass = MessageClass.INDIVIDUAL,
    now: datetime = NOW,
    groups: dict[str, list[str]] | None = None,
) -> Applying:
    """Return what the rules that apply to a message say."""
    named = [{"name": f"rule {at}", "when": {}, "then": {}, **rule} for at, rule in enumerate(rules)]
    model = PolicyModel.model_validate({"rule": named, "groups": groups or {}})
    return Rules(model.rule, model.groups).applying(Asked(facts, envelope, message_class, now))


WHEN: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"sender": ["jane@*"]}, True),
    ({"sender": ["JANE@EXAMPLE.org"]}, True),
    ({"sender": ["max@*"]}, False),
    ({"sender": ["max@*", "jane@*"]}, True),
    ({"sender_group": ["desk"]}, True),
    ({"sender_group": ["others"]}, False),
    ({"sender_group": ["others", "desk"]}, True),
    ({"sender_group": ["desk"], "sender": ["max@*"]}, False),
    ({"recipient": ["*@press.example"]}, True),
    ({"recipient": ["ANNA@*"]}, True),
    ({"recipient": ["*@other.example"]}, False),
    ({"recipient_domain": ["press.example"]}, True),
    ({"recipient_domain": ["*.EXAMPLE"]}, True),
    ({"recipient_domain": ["*.press.example", "example"]}, False),
    ({"recipient": ["max@*"], "recipient_domain": ["press.example"]}, False),
    ({"class": ["individual"]}, True),
    ({"class": ["group", "bulk"]}, False),
    ({"header": {"X-Department": ["hr *"]}}, True),
    ({"header": {"x-department": ["pay*"]}}, True),
    ({"header": {"X-Department": ["*"], "Subject": ["*OFFER*"]}}, True),
    ({"header": {"X-Department": ["*"], "X-Other": ["*"]}}, False),
    ({"header": {"X-Department": ["hr"]}}, False),
    ({"label": ["confidential"]}, True),
    ({"label": ["2a7b"]}, True),
    ({"label": ["Conf*", "x"]}, True),
    ({"label": ["public"]}, False),
    ({"size": {"min": 5_000}}, True),
    ({"size": {"min": 5_001}}, False),
    ({"size": {"max": 5_000}}, True),
    ({"size": {"max": 4_999}}, False),
    ({"size": {"min": 1, "max": 9_999}}, True),
    ({"has_attachment": True}, True),
    ({"has_attachment": False}, False),
    ({"listener": ["127.0.0.1:25", "127.0.0.1:1587"]}, True),
    ({"listener": ["127.0.0.1:25"]}, False),
    ({"client": ["10.0.0.0/8"]}, True),
    ({"client": ["10.1.2.3"]}, True),
    ({"client": ["10.1.3.0/24", "192.168.0.0/16", "fd00::/8"]}, False),
    ({"time": {"zone": "Europe/Berlin", "from": "14:30", "until": "14:31"}}, True),
    ({"time": {"zone": "Europe/Berlin", "from": "12:00", "until": "14:30"}}, False),
    ({"time": {"zone": "UTC", "days": ["wed"]}}, True),
    ({"time": {"zone": "UTC", "days": ["tue", "thu"]}}, False),
    ({"sender": ["jane@*"], "recipient": ["*@press.example"], "class": ["individual"]}, True),
    ({"sender": ["max@*"], "recipient": ["*@press.example"], "class": ["individual"]}, False),
    ({"sender": ["jane@*"], "recipient": ["*@other.example"], "class": ["individual"]}, False),
    ({"sender": ["jane@*"], "recipient": ["*@press.example"], "class": ["group"]}, False),
]
GROUPS = {"desk": ["jane@example.org", "kim@example.org"], "others": ["*@elsewhere.example"]}


@pytest.mark.parametrize(("when", "expected"), WHEN, ids=str)
def test_when_a_rule_applies(when: dict[str, Any], expected: bool) -> None:
    """Every key that is given must match, within a key any value; no key at all means every message."""
    assert expected == bool(applying({"when": when}, groups=GROUPS).names)


def test_all_of_them_at_once() -> None:
    """In one policy the same rules apply as each by itself, in the order of the file."""
    expected = tuple(f"rule {at}" for at, (_, applies) in enumerate(WHEN) if applies)

    assert expected == applying(*({"when": when} for when, _ in WHEN), groups=GROUPS).names


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        (Envelope("other@example.org", ("a@b.example",), login="jane@example.org"), True),
        (Envelope("jane@example.org", ("a@b.example",), login="other@example.org"), False),
        (Envelope("jane@example.org", ("a@b.example",)), True),
        (Envelope(" Jane@EXAMPLE.org.", ("a@b.example",)), True),
        (Envelope("jane+m4711@example.org", ("a@b.example",)), True),
        (Envelope("janet@example.org", ("a@b.example",)), False),
    ],
    ids=["login", "only_the_reverse_path", "trusted_network", "spelling", "tag", "another"],
)
def test_the_sender_of_a_rule_is_the_login(envelope: Envelope, expected: bool) -> None:
    """The sender is who logged in, and on a trusted network the envelope sender (DESIGN.md §4)."""
    assert expected == bool(applying({"when": {"sender": ["jane@example.org"]}}, envelope=envelope).names)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"recipient": ["*@press.example"]}, True),
        ({"recipient": ["a@*"], "recipient_domain": ["press.example"]}, True),
        ({"recipient": ["c@*"], "recipient_domain": ["press.example"]}, False),
    ],
    ids=["one of two", "both keys by one", "each key by another"],
)
def test_one_recipient_of_several_is_enough(when: dict[str, Any], expected: bool) -> None:
    """A rule applies as soon as one recipient is meant by all that it says of recipients: it can only lower."""
    envelope = Envelope("j@example.org", ("c@b.example", "a@press.example"))

    assert expected == bool(applying({"when": when}, envelope=envelope).names)


@pytest.mark.parametrize(
    ("now", "window", "expected"),
    [
        ("2026-06-01 21:59", {"from": "22:00", "until": "06:00", "days": ["mon"]}, False),
        ("2026-06-01 22:00", {"from": "22:00", "until": "06:00", "days": ["mon"]}, True),
        ("2026-06-02 05:59", {"from": "22:00", "until": "06:00", "days": ["mon"]}, True),
        ("2026-06-02 06:00", {"from": "22:00", "until": "06:00", "days": ["mon"]}, False),
        ("2026-06-01 00:00", {"from": "22:00", "until": "06:00", "days": ["sun"]}, True),
        ("2026-06-01 05:59", {"from": "22:00", "until": "06:00", "days": ["sun"]}, True),
        ("2026-06-01 06:00", {"from": "22:00", "until": "06:00", "days": ["sun"]}, False),
        ("2026-06-07 23:59", {"from": "08:00", "until": "00:00", "days": ["sun"]}, True),
        ("2026-06-01 00:00", {"from": "08:00", "until": "00:00", "days": ["sun"]}, False),
        ("2026-01-05 08:00", {"from": "08:00", "until": "09:00", "days": ["mon"]}, True),
        ("2026-06-06 12:00", {"days": ["sat", "sun"]}, True),
        ("2026-06-05 23:59", {"days": ["sat", "sun"]}, False),
    ],
)
def test_a_time_window_goes_by_the_clocks_of_its_place(now: str, window: dict[str, Any], expected: bool) -> None:
    """In winter and in summer, over midnight and over the end of the week; the day is the one it begins on."""
    here = datetime.fromisoformat(now).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)

    assert expected == bool(applying({"when": {"time": {"zone": "Europe/Berlin", **window}}}, now=here).names)


def test_a_time_without_a_zone_meets_no_window() -> None:
    """A doubt meets no condition; nothing is tracked at such a time anyway."""
    assert () == applying({"when": {"time": {"zone": "UTC"}}}, now=NOW.replace(tzinfo=None)).names


@pytest.mark.parametrize(
    ("client", "expected"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("10.1.3.3", False), ("", False), ("fe80::1%eth0", False)],
)
def test_the_client(client: str, expected: bool) -> None:
    """An IPv4 client is one in IPv6's clothes, too; no address and another address are in no network."""
    envelope = Envelope("j@example.org", ("a@b.example",), client=client)

    assert expected == bool(applying({"when": {"client": ["10.1.2.0/24", "2001:db8::/32"]}}, envelope=envelope).names)


ATTACHED: list[tuple[str, tuple[Part, ...], bool | None]] = [
    ("not known", (), None),
    ("text", (part("text/plain"),), False),
    ("alternatives", (part("multipart/alternative"), part("text/plain"), part("text/html")), False),
    ("invitation", (part("text/html"), part("text/calendar")), False),
    ("logo", (part("text/html"), part("image/png", "inline", named=True)), False),
    ("photo", (part("text/html"), part("image/png", "attachment", named=True)), True),
    ("named", (part("text/html"), part("application/pdf", "inline", named=True)), True),
    ("named text", (part("text/html"), part("text/csv", named=True)), True),
    ("message", (part("text/html"), part("message/rfc822")), True),
    ("OpenPGP signature", (part("text/html"), part("application/pgp-signature", named=True)), False),
    ("S/MIME signature", (part("text/html"), part("application/pkcs7-signature", "attachment", named=True)), False),
    ("S/MIME signature, old", (part("text/html"), part("application/x-pkcs7-signature", named=True)), False),
    ("signed file", (part("application/pdf", named=True), part("application/pgp-signature")), True),
]


@pytest.mark.parametrize(("parts", "expected"), [one[1:] for one in ATTACHED], ids=[one[0] for one in ATTACHED])
def test_what_an_attachment_is(parts: tuple[Part, ...], expected: bool | None) -> None:
    """Whatever is sent as a file is attached; a picture shown in the text is not, and what is not known is neither."""
    facts = Facts(size=1, parts=parts)
    met = [bool(applying({"when": {"has_attachment": one}}, facts=facts).names) for one in (True, False)]

    assert [expected is True, expected is False] == met


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("MSIP_Label_1_Enabled=True; MSIP_Label_1_Name=Top Secret", True),
        ("msip_label_1_enabled=true;msip_label_1_name=top secret;", True),
        ("MSIP_Label_1_Enabled=false; MSIP_Label_1_Name=Top Secret", False),
        ("MSIP_Label_1_Name=Top Secret", False),
        ("MSIP_Label_1_Enabled=true; MSIP_Label_2_Name=Top Secret", False),
        (
            "MSIP_Label_0_Enabled=true; MSIP_Label_0_Name=A; MSIP_Label_1_Enabled=true; MSIP_Label_1_Name=Top Secret",
            True,
        ),
        ("nonsense; = ; MSIP_Label_", False),
    ],
)
def test_labels(field: str, expected: bool) -> None:
    """A label counts where it is enabled, by its name; what is no label is passed over."""
    facts = Facts(size=1, fields={"msip_labels": (field,)})

    assert expected == bool(applying({"when": {"label": ["top secret"]}}, facts=facts).names)


def test_encoded_words_are_compared_as_people_read_them() -> None:
    """Where a field holds encoded words, the decoded value is what a glob is about."""
    facts = Facts(size=1, fields={"subject": ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=",)}, decoded={"subject": ("Grüße",)})

    for glob, expected in (("GRÜSSE", True), ("=?*", False)):
        assert expected == bool(applying({"when": {"header": {"Subject": [glob]}}}, facts=facts).names)


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_two_ways_to_write_an_accent_are_one(written: str, asked: str) -> None:
    """A glob finds what people read, whether a letter and its accent are one character or two (UAX #15)."""
    text, glob = unicodedata.normalize(written, "Kündigung"), unicodedata.normalize(asked, "KÜND*")
    label = f"MSIP_Label_1_Enabled=true; MSIP_Label_1_Name={text}"
    facts = Facts(size=1, fields={"subject": (text,), "msip_labels": (label,)})

    assert [("rule 0",)] * 2 == [
        applying({"when": when}, facts=facts).names for when in ({"header": {"Subject": [glob]}}, {"label": [glob]})
    ]


def test_what_the_rules_say_together() -> None:
    """The least of all wins: purposes add up, the strictest action counts, texts stand in the order of the file."""
    said = applying(
        {"then": {"open": "never", "footer": "One."}},
        {"then": {"foreign_tracking": "refuse", "refuse": "First"}},
        {"when": {"sender": ["nobody@*"]}, "then": {"detail": "never", "footer": "Never said.", "refuse": "Nor this"}},
        {"then": {"click": "never", "foreign_tracking": "report", "footer": "Two.", "refuse": "Second"}},
        {"then": {"ask": "never", "footer": "One."}},
    )

    expected = Applying(
        names=("rule 0", "rule 1", "rule 3", "rule 4"),
        never=frozenset({Purpose.OPEN, Purpose.CLICK}),
        ask_never=True,
        foreign_tracking=ForeignTracking.REFUSE,
        footer=("One.", "Two."),
        refusals=("First", "Second"),
    )
    assert expected == said


def test_no_rule_says_nothing() -> None:
    """Without a rule that applies nothing is lowered."""
    assert Applying() == applying() == applying({"when": {"sender": ["x@*"]}, "then": {"refuse": "no"}})


# A reader who looks at one rule after the other, condition by condition.


def glob_match(globs: list[str], text: str) -> bool:
    """Tell by the standard library whether any glob matches."""
    return any(re.fullmatch(translate(glob.lower()), text.lower()) for glob in globs)


def by_the_book(when: dict[str, Any], asked: Asked, groups: dict[str, list[str]]) -> bool:
    """Tell whether a rule applies, the plain way."""
    envelope, facts = asked.envelope, asked.facts
    members = [glob for name in when.get("sender_group", []) for glob in groups[name]]
    local = asked.now.astimezone(ZoneInfo("Asia/Tokyo"))
    day = local.strftime("%a").lower()
    return (
        ("sender" not in when or glob_match(when["sender"], envelope.mail_from))
        and ("sender_group" not in when or glob_match(members, envelope.mail_from))
        and any(
            ("recipient" not in when or glob_match(when["recipient"], address))
            and ("recipient_domain" not in when or glob_match(when["recipient_domain"], address.partition("@")[2]))
            for address in envelope.rcpt_to
        )
        and ("class" not in when or asked.message_class in when["class"])
        and all(
            any(glob_match(globs, value) for value in facts.values(name.lower()))
            for name, globs in when.get("header", {}).items()
        )
        and (when.get("size", {}).get("min", 0) <= facts.size <= when.get("size", {}).get("max", 10**9))
        and ("listener" not in when or envelope.listener in when["listener"])
        and (
            "client" not in when
            or any(ipaddress.ip_address(envelope.client) in ipaddress.ip_network(one) for one in when["client"])
        )
        and ("time" not in when or day in when["time"]["days"])
    )


ADDRESS_GLOBS = st.lists(
    st.sampled_from(["*", "a@x.example", "a@*", "*@x.example", "*@*.example", "?@y.*", "b*@*e", "*a*x*", "*@*b.*"]),
    min_size=1,
    max_size=3,
)
TEXT_GLOBS = st.lists(st.sampled_from(["*", "one", "o*", "*e", "*n*", "?n?", "two", ""]).filter(bool), min_size=1)
WHENS = st.fixed_dictionaries(
    {},
    optional={
        "sender": ADDRESS_GLOBS,
        "sender_group": st.lists(st.sampled_from(["g", "h"]), min_size=1),
        "recipient": ADDRESS_GLOBS,
        "recipient_domain": st.lists(st.sampled_from(["x.example", "*.example", "y.*", "*b*"]), min_size=1),
        "class": st.lists(st.sampled_from(["individual", "group"]), min_size=1),
        "header": st.dictionaries(st.sampled_from(["X-One", "X-Two"]), TEXT_GLOBS, min_size=1),
        "size": st.sampled_from([{"min": 5}, {"max": 5}, {"min": 3, "max": 6}]),
        "listener": st.lists(st.sampled_from(["l:1", "l:2"]), min_size=1),
        "client": st.lists(st.sampled_from(["10.0.0.0/8", "10.2.0.0/16", "10.1.1.1", "fd00::/8"]), min_size=1),
        "time": st.lists(st.sampled_from(["mon", "tue", "sun"]), min_size=1).map(
            lambda days: {"zone": "Asia/Tokyo", "days": days}
        ),
    },
)
ADDRESSES = st.sampled_from(["a@x.example", "b@y.example", "bb@sub.x.example", "ab@by.test"])
ASKED = st.builds(
    Asked,
    facts=st.builds(
        Facts,
        size=st.integers(0, 8),
        fields=st.dictionaries(
            st.sampled_from(["x-one", "x-two"]),
            st.lists(st.sampled_from(["one", "two", "ono"]), min_size=1, max_size=2).map(tuple),
        ),
    ),
    envelope=st.builds(
        Envelope,
        ADDRESSES,
        st.lists(ADDRESSES, min_size=1, max_size=2).map(tuple),
        listener=st.sampled_from(["l:1", "l:2", "l:3"]),
        client=st.sampled_from(["10.1.1.1", "10.2.1.1", "11.1.1.1", "fd00::1"]),
    ),
    message_class=st.sampled_from([MessageClass.INDIVIDUAL, MessageClass.GROUP, MessageClass.LIST]),
    now=st.integers(0, 14).map(lambda halves: NOW + halves * timedelta(hours=12)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(WHENS, max_size=6), ASKED)
def test_the_indexes_find_what_a_reader_finds(whens: list[dict[str, Any]], asked: Asked) -> None:
    """Whatever the rules, the indexes find exactly those that apply when one looks at each."""
    groups = {"g": ["a@*", "*@by.test"], "h": ["bb@*"]}
    found = applying(
        *({"when": when} for when in whens),
        facts=asked.facts,
        envelope=asked.envelope,
        message_class=asked.message_class,
        now=asked.now,
        groups=groups,
    )

    expected = tuple(f"rule {at}" for at, when in enumerate(whens) if by_the_book(when, asked, groups))
    assert expected == found.names
