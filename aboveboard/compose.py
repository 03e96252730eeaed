"""Composition: what the configuration means to the ledger, and to all parts alike.

What it means to the relay alone stands in ``relaying``, to the web in ``showing``, to mail of our own in ``post``.
"""

import ipaddress
import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from aboveboard.config import ConfigError
from aboveboard.settings import Config, SystemMailSection, UpstreamSection
from ledger.calendar import Calendar
from ledger.chain import HeadFile
from ledger.database import Place, prepare
from ledger.keys import Keyring
from ledger.ledger import Ledger, LedgerSettings
from ledger.notice import Teller
from ledger.recall import Recalled
from ledger.retention import Periods
from policies import Policy, compile_policy
from policies.address import canonical_domain


def hostname(config: Config) -> str:
    """Return how the relay calls itself in SMTP: as configured, else the public URL's host (RFC 5321 §4.1.3)."""
    if config.relay.hostname is not None:
        # RFC 5321 §4.1.1.1: a host says its name in ASCII.
        return config.relay.hostname if config.relay.hostname.isascii() else canonical_domain(config.relay.hostname)
    host = urlsplit(config.web.public_url).hostname or "localhost"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


def policy(config: Config) -> Policy:
    """Return the policy that the configuration amounts to."""
    return compile_policy(config.policy, config.organisation.domains)


def teller(config: Config) -> Teller:
    """Return what every notice says of the organisation."""
    organisation, retention = config.organisation, config.retention
    return Teller(
        organisation.name,
        organisation.contact,
        organisation.privacy_url,
        hits_days=retention.hits_days,
        consent_days=retention.consent_days,
    )


def ledger(config: Config, keyring: Keyring) -> Ledger:
    """Return the ledger, not yet opened."""
    return Ledger(
        LedgerSettings(
            url=config.ledger.url,
            head_file=head_file(config),
            teller=teller(config),
            periods=periods(config),
            letters_url=config.web.public_url if config.system_mail is not None else None,
            calendar=calendar(config),
            journal_file=journal_file(config),
            account_file=config.ledger.account_file or _beside_the_ledger(config, ".accounts"),
        ),
        keyring,
    )


def periods(config: Config) -> Periods:
    """Return how long things are kept."""
    retention = config.retention
    return Periods(
        recording=timedelta(days=retention.recording_days),
        hits=timedelta(days=retention.hits_days),
        messages=timedelta(days=retention.messages_days),
        decisions=timedelta(days=retention.decisions_days),
        foreign=timedelta(days=retention.foreign_days),
        cases=timedelta(days=retention.cases_days),
        access=timedelta(days=retention.access_days),
        consent=timedelta(days=retention.consent_days),
        consent_events=timedelta(days=retention.consent_events_days),
    )


def calendar(config: Config) -> Calendar:
    """Return until when requests must be answered."""
    said = config.requests
    return Calendar(
        said.acknowledge_working_days,
        said.complaint_days,
        said.answer_days,
        said.uk_acknowledge_days,
        frozenset(said.holidays),
        letters=config.system_mail is not None,
    )


async def make_ready(config: Config) -> Recalled:
    """Make the ledger ready for use: its tables, its keys, and what its journal knows better after a restore.

    Raises LedgerError, and LedgerMissing where it must not be begun anew.
    """
    prepare(config.ledger.url, config.ledger.key_file, begun=begun(config))
    async with ledger(config, Keyring.load(config.ledger.key_file)) as opened:
        return await opened.recall()


def begun(config: Config) -> bool:
    """Tell whether consent has been recorded here, by the head file; then a ledger that is missing is not made anew."""
    head = HeadFile(head_file(config)).read()
    return head is not None and head[0] > 0


def head_file(config: Config) -> Path:
    """Return where the head of the consent chain is written: as configured, else beside ledger or key file."""
    return config.ledger.head_file or _beside_the_ledger(config, ".head")


def journal_file(config: Config) -> Path:
    """Return where refusals and erasures are written once more: as configured, else beside ledger or key file."""
    return config.ledger.journal_file or _beside_the_ledger(config, ".journal")


def _beside_the_ledger(config: Config, ending: str) -> Path:
    beside = Place(config.ledger.url).sqlite or config.ledger.key_file
    return beside.with_name(beside.name + ending)


def password(path: str, section: UpstreamSection | SystemMailSection) -> str | None:
    """Return the password of a service login, if it has one. Raises ConfigError where it cannot be read."""
    if section.password_env is not None:
        password = os.environ.get(section.password_env)
        if not password:
            raise ConfigError([f"{path}.password_env: the environment has no {section.password_env}."])
        return password
    if section.password_file is None:
        return None
    try:
        secret = section.password_file.read_text("utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}.password_file: cannot be read."]) from error
    if not secret or len(secret.splitlines()) > 1:
        raise ConfigError([f"{path}.password_file: must hold the password alone, on one line."])
    return secret
