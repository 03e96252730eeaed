"""Role addresses and mailing lists: the names that stand for more than one reader."""

import pytest

from policies.glob import address_pattern, matches
from policies.roles import LIST_PATTERNS, ROLE_NAMES, ROLE_PATTERNS

LISTS = address_pattern(LIST_PATTERNS)
ROLES = address_pattern(ROLE_PATTERNS)


@pytest.mark.parametrize(
    ("language", "names"),
    [
        (
            "rfc2142",
            "info marketing sales support abuse noc security postmaster hostmaster usenet news webmaster www uucp",
        ),
        ("english", "office contact hello billing invoices hr jobs reception helpdesk noreply no-reply press"),
        ("german", "buchhaltung buero kontakt rechnung sekretariat datenschutz personal bewerbung einkauf vertrieb"),
        ("french", "comptabilite accueil secretariat facturation rh rgpd direction commandes"),
        ("spanish", "contabilidad facturacion ventas atencion privacidad rrhh pedidos"),
        ("italian", "amministrazione segreteria ufficio fatture ordini vendite assistenza"),
    ],
    ids=["rfc2142", "english", "german", "french", "spanish", "italian"],
)
def test_names_per_language(language: str, names: str) -> None:
    """The usual shared mailboxes of each language are known."""
    assert set() == set(names.split()) - set(ROLE_NAMES), language


def test_every_name_is_a_plain_local_part() -> None:
    """A role name is compared with folded addresses, so it is in lower case and holds nothing a glob would expand."""
    odd = {name for name in ROLE_NAMES if name != name.casefold() or not name.replace("-", "").isalnum()}

    assert set() == odd


def test_names_come_once() -> None:
    """The names are sorted and without repeats, whichever languages share them."""
    assert sorted(set(ROLE_NAMES)) == list(ROLE_NAMES)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("info@shop.example", True),
        ("sales.de@shop.example", True),
        ("info-vienna@shop.example", True),
        ("noreply_2@shop.example", True),
        ("hausverwaltung@shop.example", True),
        ("infolit@shop.example", False),
        ("salesman@shop.example", False),
        ("anna.info@shop.example", False),
    ],
)
def test_a_role_at_one_place(address: str, expected: bool) -> None:
    """A shared mailbox that has a country, a product or a shop behind its name is one too."""
    assert matches(ROLES, address) is expected


@pytest.mark.parametrize("name", ["anna", "bill", "jane.doe", "mark", "petra", "rose", "informant", "salesman"])
def test_people_are_no_roles(name: str) -> None:
    """A person's name is not taken for a role, nor is a word that merely begins like one."""
    assert name not in ROLE_NAMES


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("all@company.example", True),
        ("team@company.example", True),
        ("dev-l@company.example", True),
        ("dev-users@company.example", True),
        ("listserv@company.example", True),
        ("dev-request@company.example", True),
        ("owner-dev@company.example", True),
        ("list@googlegroups.com", True),
        ("anything@groups.io", True),
        ("dl-sales@company.example", True),
        ("verteiler-nord@company.example", True),
        ("dev@mailman.company.example", True),
        ("dev-bounces@company.example", True),
        ("anything@freelists.org", True),
        ("anything@lists.company.example", True),
        ("jane@company.example", False),
        ("jane@mylists.company.example", False),
        ("jane@company.lists", False),
        ("jane@googlegroups.com.example", False),
        ("small@company.example", False),
        ("michel@company.example", False),
        ("teamlead@company.example", False),
        ("jane@company.onmicrosoft.com", False),
    ],
)
def test_list_patterns(address: str, expected: bool) -> None:
    """The patterns of classification.md's row 5 are built in, and an ordinary person's address is none of them."""
    assert expected == matches(LISTS, address)
