"""What is wrong between settings: two on one port, mail in clear, a relay that is its own upstream."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from aboveboard import autoconfig
from aboveboard.collection import MAIL
from aboveboard.settings import Config, ListenerSection, SystemMailSection, UpstreamSection
from aboveboard.values import LOOPBACK_NAMES, SQLITE, is_loopback, split_address
from policies.checks import address_globs
from policies.policy import PolicyModel
from proxy.route import DEFAULT_PORTS

_ALL = frozenset({"0.0.0.0", "::"})  # noqa: S104  # addresses to compare with


def cross_checks(config: Config) -> list[str]:
    """Return a sentence for everything that is wrong between settings, each beginning with a key path."""
    problems = [*_taken_addresses(config), *_taken_files(config)]
    for at, listener in enumerate(config.relay.listener):
        problems += _listener_checks(f"relay.listener[{at}]", listener)
    for at, upstream in enumerate(config.relay.upstream):
        problems += _upstream_checks(f"relay.upstream[{at}]", upstream)
        problems += _sender_checks(f"relay.upstream[{at}]", upstream)
        problems += _loop_checks(f"relay.upstream[{at}]", upstream, config.relay.listener)
    for at, alias in enumerate(config.relay.alias):
        globs = address_globs(f"relay.alias[{at}].addresses", alias.addresses)
        problems += [f"{one.path}: {one.text}." for one in globs]
    if config.relay.max_bytes_in_flight < config.relay.max_message_bytes:
        problems.append(
            f"relay.max_bytes_in_flight: is less than relay.max_message_bytes ({config.relay.max_message_bytes}); "
            "a message of that size could never be taken."
        )
    if config.policy.vendor or config.policy.vendors_off:
        problems += _vendor_checks(config.policy)
    if config.system_mail is not None:
        problems += _server_checks("system_mail", config.system_mail)
    problems += autoconfig.problems(config)
    if config.policy.ask == "footer" and config.system_mail is None:
        problems.append('policy.ask: "footer" needs [system_mail]: a yes counts by a link mailed to the person.')
    if config.consent.needs_mail() and config.system_mail is None:
        problems.append('consent.anchor: "mail" needs [system_mail]; set that, or name a file.')
    return [*problems, *config.consent.problems()]


def _taken_addresses(config: Config) -> Iterator[str]:
    """Find addresses to listen on that another setting has already, by itself or with all addresses of its port."""
    seen: list[tuple[str, str, int]] = []
    for path, address in config.addresses():
        host, port = split_address(address)
        host = "127.0.0.1" if host.lower() in LOOPBACK_NAMES else host
        for before, other, taken in seen:
            if port == taken != 0 and (host == other or ((":" in host) == (":" in other) and {host, other} & _ALL)):
                yield f"{path}: {address} is in use already, by {before}."
                break
        seen.append((path, host, port))


def _taken_files(config: Config) -> Iterator[str]:
    """Find files of the ledger that are to be two things at once: one would be written over the other."""
    said = config.ledger
    is_file = said.url.startswith(SQLITE)
    files = {
        "ledger.url": Path(said.url.removeprefix(SQLITE)) if is_file else None,
        "ledger.key_file": said.key_file,
        "ledger.head_file": said.head_file,
        "ledger.journal_file": said.journal_file,
        "ledger.account_file": said.account_file,
        "consent.anchor": None if config.consent.anchor in (None, MAIL) else Path(config.consent.anchor),
    }
    seen: dict[str, str] = {}
    for path, file in files.items():
        if file is None:
            continue
        before = seen.setdefault(os.path.normpath(file), path)
        if before != path:
            yield f"{path}: is the same file as {before}; each needs one of its own."


def without_effect(config: Config) -> list[str]:
    """Return a sentence for every upstream that no mail goes to, and every form that nobody could answer."""
    return [*_idle_upstreams(config), *_dead_forms(config)]


def _dead_forms(config: Config) -> Iterator[str]:
    if config.system_mail is not None:
        return
    for at, point in enumerate(config.consent.point):
        if point.public:
            yield (
                f"consent.point[{at}].public: there is no form at /join/{point.id} without [system_mail], "
                "for agreement by it counts by a link that is mailed."
            )


def _idle_upstreams(config: Config) -> list[str]:
    """Find upstreams that no mail goes to, for an earlier one takes all of it."""
    everybody = next((at for at, one in enumerate(config.relay.upstream) if {"*", "*@*"} & set(one.senders)), None)
    if everybody is None:
        return []
    return [
        f"relay.upstream[{at}].senders: nobody's mail goes there, for relay.upstream[{everybody}] takes everybody's; "
        "servers to be tried in order belong in one url, as a list."
        for at in range(everybody + 1, len(config.relay.upstream))
    ]


def _sender_checks(path: str, upstream: UpstreamSection) -> list[str]:
    # A login may be DOMAIN\NAME and still have a server of its own.
    globs = [glob if "\\" not in glob else "*" for glob in upstream.senders]
    return [f"{one.path}: {one.text}." for one in address_globs(f"{path}.senders", globs)]


def _loop_checks(path: str, upstream: UpstreamSection, listeners: list[ListenerSection]) -> list[str]:
    """Find an upstream that is this relay itself: it would connect to itself without end."""
    ports = {port for host, port in map(split_address, (one.address for one in listeners)) if _is_here(host)}
    here = [parts for parts in map(urlsplit, upstream.url) if is_loopback(parts.hostname or "")]
    same = any((parts.port or DEFAULT_PORTS[parts.scheme]) in ports for parts in here)
    return [f"{path}.url: is a listener of this relay; name the mail server behind it."] if same else []


def _vendor_checks(policy: PolicyModel) -> list[str]:
    # Imported here: it brings along what finds trackers, which few files and few commands need.
    from proxy.vendorcheck import problems

    return [f"policy.{one}" for one in problems(policy.vendor, policy.vendors_off)]


def _is_here(host: str) -> bool:
    return is_loopback(host) or host in _ALL


def _listener_checks(path: str, listener: ListenerSection) -> list[str]:
    problems = []
    for name, file in (("certificate", listener.certificate), ("key", listener.key)):
        if listener.tls == "none" and file is not None:
            problems.append(f'{path}.{name}: has no meaning with tls = "none".')
        elif listener.tls != "none" and file is None:
            problems.append(f'{path}.{name}: is missing; tls = "{listener.tls}" needs it.')
        elif file is not None and not file.is_file():
            problems.append(f"{path}.{name}: there is no file {file}.")
    if listener.auth == "networks":
        return problems
    if listener.tls == "none" and not is_loopback(split_address(listener.address)[0]):
        problems.append(
            f'{path}.tls: logins would travel in clear; set "starttls" or "implicit", or listen on loopback.'
        )
    if "networks" in listener.model_fields_set:
        problems.append(
            f'{path}.networks: has no meaning with auth = "{listener.auth}": who may send is told by login.'
        )
    return problems


def _upstream_checks(path: str, upstream: UpstreamSection) -> list[str]:
    problems = []
    plain = [parts for parts in map(urlsplit, upstream.url) if parts.scheme == "smtp"]
    if not all(is_loopback(parts.hostname or "") for parts in plain) and not upstream.insecure:
        problems.append(
            f'{path}.url: mail would travel in clear; use "smtp+starttls://" or "smtps://", or set insecure = true.'
        )
    return problems + _login_checks(path, upstream)


def _server_checks(path: str, section: SystemMailSection) -> list[str]:
    """Find what is wrong with the server for mail of our own; links that prove a mailbox never travel in clear."""
    parts = urlsplit(section.url)
    clear = parts.scheme == "smtp" and not is_loopback(parts.hostname or "")
    problems = [f'{path}.url: mail would travel in clear; use "smtp+starttls://" or "smtps://".'] if clear else []
    return problems + _login_checks(path, section)


def _login_checks(path: str, upstream: UpstreamSection | SystemMailSection) -> list[str]:
    problems = []
    if upstream.password_file is not None and upstream.password_env is not None:
        problems.append(f"{path}: password_file and password_env are one too many.")
    elif (upstream.username is None) != (upstream.password_file is None and upstream.password_env is None):
        problems.append(f"{path}: username and password_file, or password_env, belong together.")
    elif upstream.password_file is not None and not upstream.password_file.is_file():
        problems.append(f"{path}.password_file: there is no file {upstream.password_file}.")
    return problems
