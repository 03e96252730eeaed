"""The numbered cases of mail: a message in, the bytes out, the class and the reason, by the relay's own way.

They are listed in tests/mail/cases/cases.toml, which says how to read it.
"""

import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.reader import Known
from policies import Consent, Envelope, PolicyModel, Purpose, compile_policy
from policies.address import canonical
from policies.consent import Assurance, ConsentEvent, Standing, State
from proxy.links import link_rules
from proxy.message import Reading
from proxy.relay import Conduct, Examination, examine, rewrite
from proxy.rewrite import Outgoing
from tests.proxy.samples import FOOTER, MAIL, FixedMarks, bodies

FOLDER = MAIL / "cases"
CASES: list[dict[str, Any]] = tomllib.loads((FOLDER / "cases.toml").read_text("utf-8"))["case"]
IDS = [f"case-{'-'.join(case['number'])}-{case['name']}" for case in CASES]
BOTH = ["open", "click"]


class Marks(FixedMarks):
    """Marks with fixed addresses; that of a long link is longer than it, as a real one is."""

    def link(self, number: int, target: str) -> str:
        """Return an address that names the link's number, and holds the link where that is long."""
        return super().link(number, target) + (target if len(target) > 1_000 else "")


def consent(purposes: list[str], state: State) -> Consent:
    """Return a consent in which somebody said something of some purposes a moment ago."""
    now = datetime.now(UTC)
    until = now + timedelta(days=1) if state is State.GRANTED else None
    return Consent(
        {
            purpose: Standing(ConsentEvent("1", 1, purpose, state, Assurance.ASSERTED, now, until, exact=True))
            for purpose in map(Purpose, purposes)
        }
    )


def conduct(case: dict[str, Any]) -> Conduct:
    """Return how the organisation of a case treats mail."""
    model = PolicyModel.model_validate(case.get("policy", {}))
    reading = Reading(
        links=link_rules(model.visible_url_links, model.never_wrap, ["https://mail.example.org"]),
        max_bytes=case.get("max_bytes", 36_700_160),
        removable_signatures=frozenset(case.get("removable", ())),
        plain_text_links=model.plain_text_links,
    )
    policy = compile_policy(model, ["example.org"])
    footer = replace(FOOTER, own_texts=model.footer.own_texts(), top_if_long=model.footer.position == "top-if-long")
    return Conduct(policy, reading, footer, "https://mail.example.org", "relay.test")


async def carried(case: dict[str, Any]) -> tuple[Examination, Outgoing, Marks]:
    """Return what the relay makes of a case."""
    rcpt = tuple(case.get("rcpt", ["ada@client.example"]))
    state = State(case.get("state", "granted"))
    said = {canonical(who): consent(what, state) for who, what in case.get("agreed", dict.fromkeys(rcpt, BOTH)).items()}

    async def look_up(recipient: str, sender: str) -> Known:
        return Known(said.get(recipient, Consent()))

    here, marks = conduct(case), Marks()
    envelope = Envelope(case.get("mail_from", "max@example.org"), rcpt)
    examined = await examine(here, (FOLDER / f"{case['name']}.in.eml").read_bytes(), envelope, look_up)
    return *rewrite(here, examined, marks, eight_bit=case.get("eight_bit", True)), marks


def test_every_file_has_a_case() -> None:
    """No file of the folder is left out, and no case is listed twice."""
    names = [case["name"] for case in CASES]

    assert sorted(names) == sorted(path.name.removesuffix(".in.eml") for path in FOLDER.glob("*.in.eml"))
    assert {path.name.removesuffix(".out.eml") for path in FOLDER.glob("*.out.eml")} <= set(names)


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_case(case: dict[str, Any]) -> None:
    """A message of a class leaves for a reason as these bytes; where it is not changed, as those that came."""
    examined, outgoing, marks = await carried(case)
    out = FOLDER / f"{case['name']}.out.eml"
    expected = out.read_bytes() if out.exists() else (FOLDER / f"{case['name']}.in.eml").read_bytes()
    decision = examined.decision

    assert (case.get("class", "individual"), case.get("reason", "tracked")) == (decision.message_class, decision.reason)
    assert expected == outgoing.raw
    pages = bodies(outgoing.raw) if decision.tracked else []
    wrapped = [marks.targets[int(link)] for html in pages for link in re.findall(r"/l/link(\d+)", html)]
    assert case.get("targets", wrapped) == wrapped
    assert case.get("count", len(wrapped)) == len(wrapped)
