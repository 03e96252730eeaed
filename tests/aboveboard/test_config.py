"""The configuration file: what is right loads, what is wrong is named by its key path in one sentence."""

from datetime import time
from pathlib import Path
from typing import Any

import pytest

from aboveboard import compose, premises
from aboveboard.config import ConfigError, load, notes, parse
from tests.aboveboard.configuration import BASE, DESIGN, changed, problems


def test_the_file_of_the_design_loads() -> None:
    """The file in DESIGN.md §3 is right, whole."""
    config = parse(BASE, Path("/etc/aboveboard"))
    assert ("Example GmbH", 1, "Never the press") == (
        config.organisation.name, len(config.relay.listener), config.policy.rule[0].name,
    )  # fmt: skip
    assert "[127.0.0.1]" == compose.hostname(config)


def test_paths_are_relative_to_the_file() -> None:
    """Relative paths in the file are relative to it, the ledger's included; absolute ones stay."""
    config = parse(BASE, Path("/etc/aboveboard"))
    assert Path("/etc/aboveboard/aboveboard.key") == config.ledger.key_file
    assert "sqlite:////etc/aboveboard/aboveboard.db" == config.ledger.url
    assert Path("/etc/aboveboard/aboveboard.db.head") == compose.head_file(config)
    absolute = parse(changed("ledger.key_file", "/run/secrets/key"), Path("/etc/aboveboard"))
    assert Path("/run/secrets/key") == absolute.ledger.key_file


POINT = {"id": "fair", "title": "Fair", "where": "our stand", "wording": "Yes, you may", "proof": "folder 7"}
VENDOR: dict[str, Any] = {
    "id": "acme",
    "name": "Acme",
    "kind": "tool",
    "source": ["made up"],
    "mark": [
        {
            "on": ["image"],
            "host": ["px.acme.test"],
            "certainty": "certain",
            "hit": ["https://px.acme.test/o.gif"],
            "miss": ["https://acme.test/"],
        }
    ],
}

WRONG = [
    ("organisation.name", None, "organisation.name: is missing."),
    ("organisation.nmae", "x", 'organisation.nmae: is not a known key (did you mean "name"?).'),
    ("organisation.domains", [], "organisation.domains: must not be empty."),
    ("organisation.domains", ["exa mple"], "organisation.domains[0]: must be a domain name"),
    ("organisation.contact", "privacy", "organisation.contact: must be an e-mail address"),
    ("organisation.privacy_url", "example.org", "organisation.privacy_url: must be a web address"),
    ("relay.listener", [], "relay.listener: must not be empty."),
    ("relay.listener.0.address", "1587", 'relay.listener[0].address: must be "HOST:PORT"'),
    ("relay.listener.0.address", "127.0.0.1:99999", 'relay.listener[0].address: must be "HOST:PORT"'),
    ("relay.listener.0.tls", "ssl", "relay.listener[0].tls: must be 'none', 'starttls' or 'implicit', not 'ssl'."),
    ("relay.listener.0.tls", "starttls", "relay.listener[0].certificate: is missing"),
    ("relay.listener.0.key", "x.pem", 'relay.listener[0].key: has no meaning with tls = "none".'),
    ("relay.listener.0.networks", ["0.0.0.0/0"], "relay.listener[0].networks[0]: is wider than /8"),
    ("relay.listener.0.networks", ["::/0"], "relay.listener[0].networks[0]: is wider than /32"),
    ("relay.listener.0.networks", ["40.107.22.5"], "relay.listener[0].networks[0]: has mail servers of Microsoft 365"),
    ("relay.listener.0.networks", ["209.0.0.0/8"], "relay.listener[0].networks[0]: has mail servers of Google"),
    ("relay.listener.0.networks", ["2a01:111:f400::/44"], "relay.listener[0].networks[0]: has mail servers of Micro"),
    ("relay.listener.0.networks", ["::ffff:10.0.0.0/104"], "relay.listener[0].networks[0]: is an IPv4 network in IPv6"),
    ("relay.listener.0.proxy_protocol_from", ["0.0.0.0/0"], "relay.listener[0].proxy_protocol_from[0]: is wider than"),
    ("relay.listener.0.bare_newlines", "fix", "relay.listener[0].bare_newlines: must be 'refuse' or 'normalise'"),
    ("relay.max_bytes_in_flight", 100_000, "relay.max_bytes_in_flight: is less than relay.max_message_bytes"),
    ("relay.listener.0.networks", ["10.0.0.1/8"], "relay.listener[0].networks[0]: must be a network"),
    ("relay.listener.0.adress", "x", 'relay.listener[0].adress: is not a known key (did you mean "address"?).'),
    ("relay.upstream.0.url", "smtp://mail.example.org", "relay.upstream[0].url: mail would travel in clear"),
    ("relay.upstream.0.url", "http://127.0.0.1", 'relay.upstream[0].url: must be "smtp://HOST:PORT"'),
    ("relay.upstream.0.url", "smtps://u:p@mail.example.org", "relay.upstream[0].url: must not hold a login"),
    ("relay.upstream.0.username", "u", "relay.upstream[0]: username and password_file, or password_env, belong"),
    ("relay.upstream.0.url", "smtp://localhost:1587", "relay.upstream[0].url: is a listener of this relay"),
    ("relay.upstream.0.url", [], "relay.upstream[0].url: must not be empty"),
    ("relay.upstream.0.url", ["smtps://a", "smtp://b.example"], "relay.upstream[0].url: mail would travel in clear"),
    ("relay.upstream.0.url", ["smtps://a", "imap://b"], 'relay.upstream[0].url: must be "smtp://HOST:PORT"'),
    ("relay.upstream.0.url", ["smtps://a", "smtp://[::1]:1587"], "relay.upstream[0].url: is a listener of this relay"),
    ("relay.upstream.0.connections", 0, "relay.upstream[0].connections: input should be greater than"),
    ("relay.max_message_bytes", "big", "relay.max_message_bytes: must be a whole number, without quotes"),
    ("relay.max_connections", True, "relay.max_connections: must be a whole number, without quotes, not True."),
    ("relay.received", "no", "relay.received: must be true or false, without quotes, not 'no'."),
    ("relay.max_message_bytes", 1, "relay.max_message_bytes: input should be greater than or equal to 65536"),
    ("web.public_url", "http://track.example.org", "web.public_url: must begin with https://"),
    ("web.public_url", "https://t.example.org/?x=1", "web.public_url: must be a web address"),
    ("web.address", "127.0.0.1:1587", "web.address: 127.0.0.1:1587 is in use already, by relay.listener[0].address."),
    ("ledger.url", "mysql://x/y", 'ledger.url: must be "sqlite:///FILE"'),
    ("policy.open", "maybe", "policy.open: must be 'never' or 'with-consent', not 'maybe'."),
    ("policy.rule.0.then", {"open": "with-consent"}, "policy.rule[0].then.open: must be 'never'"),
    ("policy.rule.0.when", {"recipent": ["*"]}, "policy.rule[0].when.recipent: is not a known key (did you mean"),
    ("policy.rule.0.name", None, "policy.rule[0].name: is missing."),
    ("policy.vendors_off", ["mailtrak"], "policy.vendors_off[0]: must be the id of a vendor that comes"),
    ("policy.vendor", [VENDOR | {"id": "mailtrack"}], "policy.vendor[0].id: must not be that of a vendor that comes"),
    ("policy.vendor", [VENDOR, VENDOR], "policy.vendor[1].id: must be the id of one vendor only"),
    (
        "policy.vendor",
        [VENDOR | {"mark": [VENDOR["mark"][0] | {"hit": ["https://x.test/"]}]}],
        "policy.vendor[0].mark[0].hit[0]: must be matched by its mark",
    ),
    ("policy.vendor", [VENDOR | {"kind": "spy"}], "policy.vendor[0].kind: must be 'tool', 'platform' or 'gateway'"),
    ("policy.vendor", [VENDOR | {"mark": []}], "policy.vendor[0]: must have a mark or an element."),
    ("retention.foreign_days", 400, "retention.foreign_days: input should be less than or equal to 395"),
    ("policy.open", "always", 'policy.open: tracking without consent cannot be allowed; use "with-consent"'),
    ("policy.internal", True, 'policy.internal: tracking without consent cannot be allowed; use "with-consent"'),
    ("policy.rule.0.then", {"open": "on"},
     'policy.rule[0].then.open: tracking without consent cannot be allowed; a rule can only say "never", not \'on\' '
     '(rule "Never the press").'),
    ("policy.rule.0.when", {"recipient": ["press.example"]},
     'policy.rule[0].when.recipient[0]: "press.example" matches no address; write "*@press.example" '
     '(rule "Never the press").'),
    ("policy.rule.0.when", {"recipient": []},
     'policy.rule[0].when.recipient: must not be empty (rule "Never the press").'),
    ("policy.rule.0.when", {"header": {"X-Unit": [""]}}, "policy.rule[0].when.header.X-Unit[0]: string should have"),
    ("policy.rule.0.when", {"header": {"X Unit": ["a"]}},
     "policy.rule[0].when.header.X Unit: must be the name of a header field"),
    ("policy.rule.0.when", {"listener": ["127.0.0.1:25"]},
     'policy.rule[0].when.listener[0]: "127.0.0.1:25" is not the address of a relay.listener'),
    ("policy.rule.0.when", {"client": ["10.0.0.1/8"]}, "policy.rule[0].when.client[0]: must be a network"),
    ("policy.rule.0.when", {"client": ["10.20.3.4/16"]},
     """policy.rule[0].when.client[0]: must be a network, like "10.20.0.0/16", not '10.20.3.4/16'"""),
    ("policy.rule.0.when", {"client": ["::ffff:10.20.0.0/112"]},
     "policy.rule[0].when.client[0]: is an IPv4 network in IPv6 form: write it as IPv4"),
    ("policy.rule.0.when", {"time": {"zone": "Berlin"}}, "policy.rule[0].when.time.zone: must be a time zone"),
    ("policy.rule.0.when", {"time": {"zone": "UTC", "from": "8"}},
     "policy.rule[0].when.time.from: must be a time of day"),
    ("policy.rule.0.when", {"time": {"zone": "UTC", "from": time(20, 0), "until": "06:00"}},
     "policy.rule[0].when.time.from: must be text in quotes, not 20:00:00"),
    ("policy.rule.0.when", {"time": {"zone": "UTC", "days": ["Monday"]}},
     "policy.rule[0].when.time.days[0]: must be 'mon'"),
    ("policy.rule.0.when", {"size": {"min": -1}}, "policy.rule[0].when.size.min: input should be greater"),
    ("policy.rule.0.then", {"refuse": "a\r\n250 OK"}, "policy.rule[0].then.refuse: must be one line"),
    ("policy.rule.0.then", {"refuse": "Nö"}, "policy.rule[0].then.refuse: must be ASCII"),
    ("policy.rule.0.then", {"footer": "See www.example.org"}, "policy.rule[0].then.footer: must hold no address"),
    ("policy.rule.0.then", {"footer": "x" * 121}, "policy.rule[0].then.footer: string should have at most 120"),
    ("policy.groups", {"HR team": []}, "policy.groups.HR team: must not be empty."),
    ("policy.groups", {"HR team": ["hr"]}, 'policy.groups.HR team[0]: "hr" matches no address; write "hr@*".'),
    ("policy.preset", "none", "policy.preset: must be 'strict', 'report-only' or 'never-track', not 'none'."),
    ("policy.preset", ["strict"], "policy.preset: must be 'strict', 'report-only' or 'never-track', not ['strict']."),
    ("policy.rule.0.name", "two\nlines", "policy.rule[0].name: must be one line of text"),
    ("retention.hits_days", True, "retention.hits_days: must be a whole number, without quotes, not True."),
    ("retention.hits_days", "90", "retention.hits_days: must be a whole number, without quotes, not '90'."),
    ("policy.plain_text_links", 1, "policy.plain_text_links: must be true or false, without quotes, not 1."),
    ("policy.rule.0.when", {"has_attachment": "no"}, "policy.rule[0].when.has_attachment: must be true or false"),
    ("ledger.key_file", 3, "ledger.key_file: must be text in quotes, not 3."),
    ("ledger.url", "postgresql://u@h:x/d", 'ledger.url: must be "sqlite:///FILE" or "postgresql://USER@HOST/DATABASE"'),
    ("organisation.contact", "\0@example.org", "organisation.contact: must be an e-mail address"),
    ("requests", {"holidays": ["x"]}, "requests.holidays[0]: must be a day without quotes, like 2026-12-25, not 'x'."),
    ("retention.hits_days", 400, "retention.hits_days: input should be less than or equal to 395"),
    ("consent.point", [{"id": "Web form"}], 'consent.point[0].id: must be small letters, digits and hyphens'),
    ("consent.point", [{**POINT, "wording": " "}], "consent.point[0].wording: must say something"),
    ("consent.point", [{"id": "fair"}], "consent.point[0].proof: is missing."),
    ("consent.point", [POINT, POINT], 'consent.point[1].id: "fair" names another point already.'),
    ("consent.point", [{**POINT, "worded": "x"}], "consent.point[0].worded: is not a known key (did you mean"),
    ("consent.anchor", "", "consent.anchor: string should have at least 1 character"),
    ("retention.consent_events_days", 2_191, "retention.consent_events_days: input should be less than or equal"),
    ("organisation.name", "two\nlines", "organisation.name: must be one line of text"),
    ("organisation.name", 5, "organisation.name: must be text in quotes, not 5."),
    ("organisation.domains", ["exä mple.org"], "organisation.domains[0]: must be a domain name"),
    ("organisation.domains", "example.org", 'organisation.domains: must be a list, like ["example.org"].'),
    ("relay.listener", {"address": "127.0.0.1:25"}, "relay.listener: must be written [[relay.listener]], with two"),
    ("relay.hostname", "relay example", "relay.hostname: must be a domain name"),
    ("relay.upstream.0.url", "smtp://127.0.0.1:25?x=1", 'relay.upstream[0].url: must be "smtp://HOST:PORT"'),
    ("relay.upstream.0.url", "smtps://mail server", 'relay.upstream[0].url: must be "smtp://HOST:PORT"'),
    ("relay.upstream.0.url", "smtps://[::1", 'relay.upstream[0].url: must be "smtp://HOST:PORT"'),
    ("relay.upstream.0.senders", ["example.org"],
     'relay.upstream[0].senders[0]: "example.org" matches no address; write "*@example.org".'),
    ("relay.alias", [{"login": ["*"], "addresses": ["{user}@example.org"]}],
     'relay.alias[0].addresses[0]: must have "{local}" in braces and nothing else'),
    ("relay.alias", [{"login": ["*"], "addresses": ["{local}@example.org", "example.org"]}],
     'relay.alias[0].addresses[1]: "example.org" matches no address; write "*@example.org".'),
    ("policy.vendors_off", ["Mailtrack"],
     'policy.vendors_off[0]: must be an id of 2 to 40 small letters, digits and hyphens'),
    ("web.public_url", "https://track example.org", "web.public_url: must be a web address"),
    ("web.public_url", "https://track.example.org:99999", "web.public_url: must be a web address"),
    ("web.public_url", 'https://track.example.org/"', "web.public_url: must be a web address"),
    ("web.address", "0.0.0.0:1587", "web.address: 0.0.0.0:1587 is in use already, by relay.listener[0].address."),
    ("web.address", "localhost:1587", "web.address: localhost:1587 is in use already, by relay.listener[0].address."),
    ("ledger", 5, "ledger: must be a section with keys of its own, not 5."),
    ("relais", {}, 'relais: is not a known key (did you mean "relay"?).'),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "sentence"), WRONG, ids=[f"{path}={value}" for path, value, _ in WRONG])
def test_what_is_wrong_is_named(path: str, value: Any, sentence: str) -> None:
    """An error is one sentence that begins with its key path."""
    found = problems(changed(path, value))
    assert any(one.startswith(sentence) for one in found), found
    assert all("\n" not in one and one.endswith(".") for one in found)


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        ("on", """policy.merge_window: must be "off", or like { messages = 5, minutes = 10 }, not 'on'."""),
        ({"messages": 0}, "policy.merge_window.messages: input should be greater than or equal to 2, not 0."),
        ({"minuts": 1}, 'policy.merge_window.minuts: is not a known key (did you mean "minutes"?).'),
    ],
    ids=["neither", "too few", "misspelt"],
)
def test_a_mistake_with_two_forms_is_said_once(window: object, sentence: str) -> None:
    """A value that may be a word or a table is judged as the one it is meant to be."""
    assert [sentence] == problems(changed("policy.merge_window", window))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"journal_file": "aboveboard.key"}, "ledger.journal_file: is the same file as ledger.key_file"),
        ({"url": "sqlite:///x", "key_file": "y/../x"}, "ledger.key_file: is the same file as ledger.url"),
        ({"head_file": "h", "account_file": "h"}, "ledger.account_file: is the same file as ledger.head_file"),
    ],
    ids=["journal over key", "key over ledger", "accounts over head"],
)
def test_no_file_is_two_things(keys: dict[str, str], sentence: str) -> None:
    """Files that would be written over each other are refused, however their paths are spelt."""
    assert [f"{sentence}; each needs one of its own."] == problems(changed("ledger", keys))


def test_a_form_that_nobody_could_answer_is_said() -> None:
    """A public form without mail of our own is no error, and is named, for whoever opens it finds nothing."""
    content = changed("consent", {"point": [POINT | {"public": True}]})
    assert not any(one.startswith("consent") for one in notes(parse(content, Path("/etc"))))
    del content["system_mail"]
    (note,) = [one for one in notes(parse(content, Path("/etc"))) if one.startswith("consent")]
    assert note.startswith("consent.point[0].public: there is no form at /join/fair without [system_mail]")


def test_an_anchor_by_mail_needs_a_mail_server() -> None:
    """What is to be mailed needs [system_mail]; a file needs nothing, and is relative to the configuration."""
    content = changed("system_mail", None)
    content["consent"] = {"anchor": "mail"}
    assert ['consent.anchor: "mail" needs [system_mail]; set that, or name a file.'] == problems(content)
    content["consent"] = {"anchor": "heads.txt"}
    assert "/etc/heads.txt" == parse(content, Path("/etc")).consent.anchor


def test_every_error_is_named_at_once() -> None:
    """All errors are reported together, not one per try."""
    content = changed("organisation.name", None)
    content["policy"]["open"] = "yes"
    content["web"]["publik_url"] = "x"
    assert ["organisation.name", "policy.open", "web.publik_url"] == sorted(
        one.partition(":")[0] for one in problems(content)
    )


@pytest.mark.parametrize("path", ["relay.upstream.0.url", "relay.upstream.0.insecure", "policy.open"])
def test_passwords_are_not_repeated(path: str) -> None:
    """A login in a URL is refused without the error repeating its password, also at another key than its own."""
    found = problems(changed(path, "smtps://u:hunter2@mail.example.org"))
    assert found
    assert "hunter2" not in " ".join(found)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"[organisation\n", "is not valid TOML"), (b"\xff\xfe", "is not UTF-8 text"), (None, "cannot be read")],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    """A file that is missing, not text or not TOML is one sentence too."""
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        load(path)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    """A file that an editor on Windows began with a byte order mark is read like any other."""
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf" + DESIGN.encode())
    assert "Example GmbH" == load(path).organisation.name


def test_a_host_name_is_said_in_ascii() -> None:
    """Trace fields and EHLO have the ASCII form of a host name that is not ASCII, as RFC 5321 wants it."""
    config = parse(changed("relay.hostname", "mäil.example.org"), Path("/etc"))
    assert "xn--mil-qla.example.org" == compose.hostname(config)


def test_what_has_no_effect_is_said() -> None:
    """A rule that lowers nothing is named by its key path and its name, and is no error."""
    content = changed("policy.open", "never")
    content["policy"]["click"] = "never"

    assert 'policy.rule[0]: lowers nothing that is not so already (rule "Never the press").' in notes(
        parse(content, Path("/etc"))
    )


def test_asking_needs_a_mail_server() -> None:
    """Row 47: nobody is asked below a message whose yes could not be proven by mail."""
    asking = {**BASE, "policy": {**BASE["policy"], "ask": "footer"}}
    del asking["system_mail"]
    assert ['policy.ask: "footer" needs [system_mail]: a yes counts by a link mailed to the person.'] == problems(
        asking
    )


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("relay.listener.0.address", "192.0.2.77:1587", "relay.listener[0].address: 192.0.2.77:1587 is not an address"),
        ("web.metrics_address", "nobody.invalid:80", "web.metrics_address: nobody.invalid:80 is not an address of"),
        ("ledger.url", "sqlite:///none/a.db", "ledger.url: there is no folder"),
        ("ledger.key_file", "none/a.key", "ledger.key_file: there is no folder"),
        ("ledger.head_file", "none/head", "ledger.head_file: there is no folder"),
        ("ledger.journal_file", "folder", "ledger.journal_file: "),
        ("consent", {"anchor": "none/heads"}, "consent.anchor: there is no folder"),
        ("consent", {"anchor": "folder"}, "consent.anchor: "),
    ],
)
def test_what_this_machine_does_not_have(tmp_path: Path, path: str, value: str, sentence: str) -> None:
    """What the file names on this machine and is not there is one sentence with its key path."""
    (tmp_path / "folder").mkdir()
    (found,) = premises.problems(parse(changed(path, value), tmp_path))
    assert found.startswith(sentence)
    assert found.endswith(".")
