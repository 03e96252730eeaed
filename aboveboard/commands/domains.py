"""`aboveboard consent refuse`, `lift` and `domains`: whole domains that refuse, by an administrator's entry."""

from pathlib import Path
from typing import Any

import click

from aboveboard.commands.consent import consent
from aboveboard.commands.shared import fail, load_config, print_rows, with_ledger
from aboveboard.parameters import DOMAIN, TEXT, config_option, json_option
from ledger import domains as domain_record
from ledger.consent import Act
from ledger.ledger import login
from policies.consent import Assurance


def _entry(label: str, reason: str) -> Act:
    return Act("admin", domain_record.METHOD, Assurance.ASSERTED, label, evidence=reason, source=login())


@consent.command()
@click.option("--domain", type=DOMAIN, required=True, help="With everything below it.")
@click.option("--reason", type=TEXT, required=True, help="Who asked for it, and how; kept on record.")
@click.option("--keep-hits", is_flag=True, help="Keep the hits recorded so far.")
@config_option
def refuse(domain: str, reason: str, keep_hits: bool, config_path: Path) -> None:
    """Record that a whole domain refuses; holds at once, for sent messages too."""
    act = _entry("every address of the domain, by an administrator", reason)
    config = load_config(config_path)
    new = with_ledger(
        config, lambda ledger: ledger.refuse_domain(domain, act, keep_hits=keep_hits), act="consent refuse"
    )
    kept = "are kept" if keep_hits else "are deleted"
    done = f"Recorded: nobody at {domain} is tracked" if new else f"Nothing new to record: {domain} refuses already"
    click.echo(f"{done}. Hits so far {kept}; only who agrees later, by their own mailbox, is an exception.")


@consent.command()
@click.option("--domain", type=DOMAIN, required=True, help="As it was entered.")
@click.option("--reason", type=TEXT, required=True, help="Why; kept on record.")
@config_option
def lift(domain: str, reason: str, config_path: Path) -> None:
    """Take a domain's refusal back. What people there said themselves is as it was."""
    act = _entry("the domain's refusal is taken back, by an administrator", reason)
    config = load_config(config_path)
    if not with_ledger(config, lambda ledger: ledger.lift_domain(domain, act), act="consent lift"):
        fail(f"{domain} does not refuse; `aboveboard consent domains` lists those that do.")
    click.echo(f"Recorded: {domain} does not refuse any more; what people there said themselves counts.")


@consent.command()
@json_option
@config_option
def domains(as_json: bool, config_path: Path) -> None:
    """List the domains that refuse."""

    def line(one: dict[str, Any]) -> str:
        name = one["domain"] or "a domain whose name was purged"
        return f"{name} since {one['since'][:10]}, entered by {one['by'] or 'unknown'}: {one['reason']}"

    print_rows(config_path, "consent domains", as_json, lambda ledger: ledger.refusing_domains(), line)
