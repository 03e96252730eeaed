"""`aboveboard account`: logins of the relay's own, for listeners with `auth = "accounts"`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from aboveboard.commands.shared import fail, load_config, print_rows, with_ledger
from aboveboard.parameters import ADDRESS_GLOB, TEXT, config_option, json_option
from ledger import passwords
from ledger.accounts import Account, Password
from ledger.ledger import Ledger
from ledger.schema import stamp

SHORTEST = 8
LONGEST = 1_024


class Login(click.ParamType[str]):
    """What somebody logs in with."""

    name = "login"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the login."""
        text = str(value)
        if not text.isprintable() or not text.strip() or " " in text or len(text.encode()) > 254:
            self.fail(
                f"{text!r} is not a login: an address like alice@example.org, or a name without spaces.", param, ctx
            )
        return text


LOGIN = Login()


@click.group()
def account() -> None:
    """Add, list and remove logins of the relay's own."""


@account.command()
@click.argument("login", type=LOGIN)
@click.option(
    "--sender", "senders", multiple=True, type=ADDRESS_GLOB, help="Glob of addresses that it may send as, too."
)
@click.option("--app-password", "app", type=TEXT, default=None, metavar="NAME", help="Make a password for one program.")
@click.option("--change", is_flag=True, help="Give an account another password, and these senders if any.")
@config_option
def add(login: str, senders: tuple[str, ...], app: str | None, change: bool, config_path: Path) -> None:
    """Add LOGIN, with a password that is asked for, or read from standard input.

    With --app-password, one is made and printed; for an account that exists, in addition to those it has.
    """
    if app is not None and change:
        raise click.UsageError("--change asks for a password; --app-password makes one.")
    config = load_config(config_path)
    secret = passwords.new_app_password() if app is not None else _asked()

    async def work(ledger: Ledger) -> bool:
        now, said = datetime.now(UTC), secret.encode("utf-8")
        whole = passwords.normalised(said) if app is not None else said
        tag = passwords.tag(ledger.keyring, said) if app is not None else None
        made = Password(app or "", tag, passwords.hashed(ledger.keyring, whole), now)
        if app is not None and await ledger.account(login) is not None:
            await ledger.add_app_password(login, made)
            return True
        before = await ledger.account(login) if change and not senders else None
        put = ledger.change_account if change else ledger.add_account
        await put(Account(login, before.senders if before is not None else senders, now, (made,)))
        return change

    existed = with_ledger(config, work, act="account change" if change else "account add")
    if app is None:
        click.echo(f"The account {login} {'has another password' if existed else 'is there'}.")
        return
    click.echo(f"The password of {app} for {login}, shown this once:", err=True)
    click.echo(secret)


def _asked() -> str:
    """Return the password from the prompt, or the first line of standard input; an argument would be seen by others."""
    try:
        if sys.stdin.isatty():
            secret = str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
        else:
            secret = sys.stdin.readline().rstrip("\r\n")
        secret.encode("utf-8")
    except UnicodeError:
        fail("The password is not UTF-8.")
    if not SHORTEST <= len(secret) <= LONGEST or "\0" in secret:
        fail(f"The password must have {SHORTEST} to {LONGEST} characters.")
    return secret


@account.command("list")
@json_option
@config_option
def list_(as_json: bool, config_path: Path) -> None:
    """List the accounts, with the names of their app passwords. That you looked is recorded."""

    async def fetch(ledger: Ledger) -> list[dict[str, Any]]:
        return [_row(one) for one in await ledger.accounts()]

    print_rows(config_path, "accounts", as_json, fetch, _line)


def _row(one: Account) -> dict[str, Any]:
    apps = [{"name": each.label, "created_at": stamp(each.created_at)} for each in one.passwords if each.tag]
    chosen = any(each.tag is None for each in one.passwords)
    return {
        "login": one.login,
        "senders": list(one.senders),
        "created_at": stamp(one.created_at),
        "password": chosen,
        "app_passwords": apps,
    }


def _line(row: dict[str, Any]) -> str:
    has = ["password"] if row["password"] else []
    has += [f"app password {one['name']}" for one in row["app_passwords"]]
    also = f"; may send as {', '.join(row['senders'])}" if row["senders"] else ""
    return f"{row['login']}: {', '.join(has) or 'no password'}{also}"


@account.command()
@click.argument("login", type=LOGIN)
@click.option("--app-password", "app", type=TEXT, default=None, metavar="NAME", help="Remove this password only.")
@config_option
def remove(login: str, app: str | None, config_path: Path) -> None:
    """Remove LOGIN. Whoever is logged in stays so until they disconnect."""
    config = load_config(config_path)
    if app is not None:
        with_ledger(config, lambda ledger: ledger.remove_app_password(login, app), act="account remove")
        click.echo(f"The app password {app} of {login} is gone.")
        return
    with_ledger(config, lambda ledger: ledger.remove_account(login), act="account remove")
    click.echo(f"The account {login} is gone.")
