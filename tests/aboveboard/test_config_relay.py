"""Listeners and upstreams in the configuration file: who may send, to which hosts, and with whose login."""

from pathlib import Path
from typing import Any

import pytest

from aboveboard import compose, premises, relaying
from aboveboard.config import ConfigError, notes, parse
from tests.aboveboard.configuration import BASE, changed, problems

UPSTREAM = BASE["relay"]["upstream"][0]


def test_several_hosts_of_one_upstream() -> None:
    """An upstream's URL may be a list: its hosts in order, each with its port and TLS."""
    config = parse(changed("relay.upstream.0.url", ["smtps://a.example", "smtp+starttls://b.example:25"]), Path("/etc"))
    (route,) = relaying.upstreams(config).routes
    assert [("a.example", 465, "implicit"), ("b.example", 25, "starttls")] == [
        (host.name, host.port, host.tls) for host in route.hosts
    ]


@pytest.mark.parametrize(("workers", "each"), [(1, 9), (2, 4), (20, 1)])
def test_workers_share_the_connections(workers: int, each: int) -> None:
    """The connections that an upstream allows are those of all workers together, and each has at least one."""
    config = parse(changed("relay.upstream.0.connections", 9), Path("/etc"))
    (route,) = relaying.upstreams(config, workers).routes
    assert each == route.limits.connections


@pytest.mark.parametrize(
    "url", ["smtps://mäil.example.org", "smtps://mail_server", "smtps://[::1]:465", "smtps://mail.example.org."]
)
def test_names_of_upstreams(url: str) -> None:
    """Names of every kind that a mail server can have are taken."""
    assert [url] == parse(changed("relay.upstream.0.url", url), Path("/etc")).relay.upstream[0].url


def test_addresses_of_both_families_on_one_port() -> None:
    """One listener for all addresses of IPv4 and one for all of IPv6 get on."""
    content = changed("relay.listener.0.address", "0.0.0.0:1587")
    content["relay"]["listener"].append({"address": "[::]:1587"})
    assert 2 == len(parse(content, Path("/etc")).relay.listener)


def test_an_upstream_that_no_mail_goes_to_is_said() -> None:
    """An upstream behind one for everybody is named: it is no spare, which a list in url would be."""
    content = changed("relay.upstream", [{"url": "smtp://127.0.0.1:25"}, {"url": "smtp://127.0.0.1:26"}])
    (note,) = [one for one in notes(parse(content, Path("/etc"))) if one.startswith("relay")]
    assert note.startswith("relay.upstream[1].senders: nobody's mail goes there, for relay.upstream[0] takes")


@pytest.mark.parametrize(
    ("listener", "problem"),
    [
        (
            {"address": "0.0.0.0:587", "auth": "pass-through"},
            'relay.listener[0].tls: logins would travel in clear; set "starttls" or "implicit", or listen on loopback.',
        ),
        (
            {"address": "127.0.0.1:587", "auth": "pass-through", "networks": ["127.0.0.0/8"]},
            'relay.listener[0].networks: has no meaning with auth = "pass-through": who may send is told by login.',
        ),
    ],
    ids=["clear", "networks"],
)
def test_listener_with_logins(listener: dict[str, Any], problem: str) -> None:
    """Logins need TLS where others could listen in, and no network makes up for one."""
    assert [problem] == problems(changed("relay.listener", [listener]))


def test_listener_with_logins_on_loopback() -> None:
    """On loopback a listener may take logins without TLS."""
    listener = {"address": "127.0.0.1:1587", "auth": "pass-through"}
    config = parse(changed("relay.listener", [listener]), Path("/etc"))
    assert "pass-through" == relaying.listener(0, config.relay.listener[0]).auth


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"username": "relay"}, "relay.upstream[0]: username and password_file, or password_env, belong together."),
        ({"password_env": "X"}, "relay.upstream[0]: username and password_file, or password_env, belong together."),
        (
            {"username": "relay", "password_env": "X", "password_file": "/dev/null"},
            "relay.upstream[0]: password_file and password_env are one too many.",
        ),
    ],
    ids=["no-password", "no-username", "both"],
)
def test_service_login(keys: dict[str, str], problem: str) -> None:
    """A service login is a user name and one place for its password."""
    assert [problem] == problems(changed("relay.upstream", [{**UPSTREAM, **keys}]))


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo\n"], ids=["empty", "blank", "two lines"])
def test_service_password_from_a_file(tmp_path: Path, content: str) -> None:
    """A password file that holds no password, or more than that, is named before anybody logs in with it."""
    (tmp_path / "password").write_text(content)
    keys = {"username": "relay", "password_file": "password"}
    config = parse(changed("relay.upstream", [{**UPSTREAM, **keys}]), tmp_path)
    assert ["relay.upstream[0].password_file: must hold the password alone, on one line."] == premises.problems(config)
    with pytest.raises(ConfigError, match="must hold the password alone"):
        relaying.upstreams(config)


@pytest.mark.parametrize("content", ["geheim", "geheim\r\n", "\ufeffgeheim\n"], ids=["bare", "line", "Windows"])
def test_a_password_is_what_is_typed(tmp_path: Path, content: str) -> None:
    """Neither a line's end nor the mark with which editors on Windows begin a file is part of a password."""
    (tmp_path / "password").write_bytes(content.encode())
    keys = {"username": "relay", "password_file": "password"}
    config = parse(changed("relay.upstream", [{**UPSTREAM, **keys}]), tmp_path)
    assert "geheim" == compose.password("relay.upstream[0]", config.relay.upstream[0])


def test_service_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's password comes from the environment variable that the file names; without it, that is said."""
    keys = {"username": "relay", "password_env": "RELAY_PASSWORD"}
    config = parse(changed("relay.upstream", [{**UPSTREAM, **keys}]), Path("/etc"))
    monkeypatch.setenv("RELAY_PASSWORD", "secret")
    (route,) = relaying.upstreams(config).routes
    assert ("relay", "secret") == (route.username, route.password)
    monkeypatch.delenv("RELAY_PASSWORD")
    with pytest.raises(ConfigError) as raised:
        relaying.upstreams(config)
    assert ["relay.upstream[0].password_env: the environment has no RELAY_PASSWORD."] == raised.value.problems
