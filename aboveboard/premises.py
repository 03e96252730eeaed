"""Premises: what the configuration names on this machine, addresses, files, passwords and accounts, looked at."""

import socket
from collections.abc import Iterator
from pathlib import Path

from aboveboard import certificates, compose, relaying
from aboveboard.certificates import Pair
from aboveboard.collection import MAIL
from aboveboard.config import ConfigError
from aboveboard.settings import Config
from aboveboard.values import split_address
from ledger.database import Place, see_that_it_is_there, wrong_key
from ledger.errors import LedgerError
from ledger.keys import KeyFile, Keyring


def problems(config: Config) -> list[str]:
    """Return a sentence for everything on this machine that would stop `serve`, or login at the upstream."""
    return [
        *_addresses(config),
        *_listeners(config),
        *_passwords(config),
        *_ledger(config),
        *_folders(config),
    ]


def _addresses(config: Config) -> Iterator[str]:
    for path, address in config.addresses():
        try:
            # Another port, so that a relay that runs already is in nobody's way.
            family, kind, _, _, place = socket.getaddrinfo(
                split_address(address)[0], 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as tried:
                tried.bind(place)
        except OSError as error:
            yield f"{path}: {address} is not an address of this machine: {error.strerror}."


def _listeners(config: Config) -> Iterator[str]:
    for at, section in enumerate(config.relay.listener):
        found = pair(config, at)
        if isinstance(found, list):
            yield from found
            continue
        try:
            relaying.listener(at, section)
        except ConfigError as error:
            yield from error.problems


def pair(config: Config, at: int) -> Pair | list[str] | None:
    """Return the certificate and key of a listener, or what is wrong with them; None where it has none."""
    section = config.relay.listener[at]
    if section.certificate is None or section.key is None:
        return None
    return certificates.read(f"relay.listener[{at}]", section.certificate, section.key)


def _passwords(config: Config) -> Iterator[str]:
    sections = [(f"relay.upstream[{at}]", one) for at, one in enumerate(config.relay.upstream)]
    for path, section in [*sections, ("system_mail", config.system_mail)]:
        try:
            if section is not None:
                compose.password(path, section)
        except ConfigError as error:
            yield from error.problems


def _ledger(config: Config) -> Iterator[str]:
    try:
        place = Place(config.ledger.url)
        if compose.begun(config):
            see_that_it_is_there(place)
    except LedgerError as error:
        yield f"ledger.url: {error}"
        return
    try:
        # One that is missing is made at the first start, unless the ledger has been written with one.
        if config.ledger.key_file.exists():
            KeyFile.read(config.ledger.key_file)
        wrong = wrong_key(place, config.ledger.key_file)
    except LedgerError as error:
        wrong = str(error)
    if wrong is not None:
        yield f"ledger.key_file: {wrong}"


def _folders(config: Config) -> Iterator[str]:
    """Find folders that are missing where files are to be made."""
    said = config.ledger
    files = {
        "ledger.url": _sqlite(config),
        "ledger.key_file": said.key_file,
        "ledger.head_file": said.head_file,
        "ledger.journal_file": said.journal_file,
        "ledger.account_file": said.account_file,
        "consent.anchor": None if config.consent.anchor in (None, MAIL) else Path(config.consent.anchor),
    }
    for path, file in files.items():
        if file is not None and not file.parent.is_dir():
            yield f"{path}: there is no folder {file.parent}."
        elif file is not None and file.is_dir() and path != "ledger.key_file":
            yield f"{path}: {file} is a folder."


def _sqlite(config: Config) -> Path | None:
    try:
        return Place(config.ledger.url).sqlite
    except LedgerError:
        return None


async def notes(config: Config) -> list[str]:
    """Return a sentence where people are to log in with accounts, and there is none yet."""
    path = next(
        (f"relay.listener[{at}]" for at, one in enumerate(config.relay.listener) if one.auth == "accounts"), None
    )
    if path is None:
        return []
    try:
        if await _has_accounts(config):
            return []
    except LedgerError as error:
        return [f"{path}.auth: whether there are accounts cannot be told: {error}"]
    return [f'{path}.auth: there is no account yet, so nobody can log in; add one with "aboveboard account add LOGIN".']


async def _has_accounts(config: Config) -> bool:
    """Tell whether there is an account. A ledger that was never begun is not begun for that. Raises LedgerError."""
    sqlite = _sqlite(config)
    if not config.ledger.key_file.exists() or (sqlite is not None and not sqlite.exists()):
        return False
    async with compose.ledger(config, Keyring.load(config.ledger.key_file)) as ledger:
        return bool(await ledger.accounts())
