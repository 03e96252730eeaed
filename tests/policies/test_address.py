"""The canonical address: what counts as the same mailbox, and what does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.address import canonical, canonical_domain, domain_of, folded, masked, split, untagged, within

LOCALS = st.text("abcXYZÄßéİ.+-_ſ", min_size=1, max_size=12)
LABELS = st.text("abcXYZ0189äßéςñ中", min_size=1, max_size=10)
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("jane@example.org", ("jane", "example.org")),
        ('"a@b"@example.org', ('"a@b"', "example.org")),
        ("jane", ("jane", "")),
        ("jane@", ("jane", "")),
        ("@example.org", ("example.org", "")),
        ("", ("", "")),
    ],
    ids=["plain", "quoted_at", "no_at", "no_domain", "no_local_part", "nothing"],
)
def test_split(address: str, expected: tuple[str, str]) -> None:
    """The last at sign separates, and an address without one has no domain."""
    assert expected == split(address)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.Org.", "example.org"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example.", "xn--mnchen-3ya.example"),
        ("mu\u0308nchen.example", "xn--mnchen-3ya.example"),
        ("XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"),
        ("münchen。example。", "xn--mnchen-3ya.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("STRAẞE.example", "xn--strae-oqa.example"),
        ("straße.münchen.example", "xn--strae-oqa.xn--mnchen-3ya.example"),
        ("mu\u0308nchen-straße.example", "xn--mnchen-strae-v9a90b.example"),
        ("*.münchen.example", "*.xn--mnchen-3ya.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("ދިވެހި.example", "xn--hqbpi0jcw.example"),
        ("א1.example", "xn--1-zhc.example"),
        ("א-1.example", "xn---1-uld.example"),
        ("straße。example", "xn--strae-oqa.example"),
        ("bad\udcff.example", "bad\udcff.example"),
        ("\u200eא.example", "\u200eא.example"),
        ("Ä..example", "xn--4ca..example"),
        ("", ""),
    ],
    ids=[
        "lower", "case_and_dot", "idna", "idna_upper", "decomposed", "a_label", "ideographic_stops", "sharp_s",
        "capital_sharp_s", "two_idna_labels", "sharp_s_decomposed",
        "glob", "literal", "vowel_sign_at_the_end", "right_to_left_and_a_digit", "right_to_left_and_a_hyphen",
        "sharp_s_and_ideographic_stop", "surrogate", "mark_of_direction", "empty_label", "nothing",
    ],
)  # fmt: skip
def test_canonical_domain(domain: str, expected: str) -> None:
    """A domain has one form whatever its case, its dots and its alphabet, also where IDNA 2003 has no word for
    it; what is no domain stays itself."""
    assert expected == canonical_domain(domain)


def test_two_domains_that_idna_2003_confuses_stay_two() -> None:
    """A grant for jane@strasse.example says nothing about jane@straße.example, which is another domain."""
    assert canonical("jane@straße.example") != canonical("jane@strasse.example")


@pytest.mark.parametrize(
    ("one", "other", "same_exactly", "same_folded"),
    [
        ("jane@example.org", "jane@EXAMPLE.ORG", True, True),
        ("jane@example.org", " jane@example.org. ", True, True),
        ("jane@example.org", "Jane@example.org", False, True),
        ("jürgen@example.org", "JÜRGEN@example.org", False, True),
        ("jane@münchen.example", "jane@xn--mnchen-3ya.example", True, True),
        ("jane@example.org", "jane+shop@example.org", False, False),
        ("j.ane@gmail.example", "jane@gmail.example", False, False),
        ("jane@example.org", "jane@mail.example.org", False, False),
        ("jane@example.org", "june@example.org", False, False),
        ("Jane", "jane", False, True),
    ],
    ids=[
        "domain_case",
        "space_and_dot",
        "local_case",
        "umlaut_case",
        "idna",
        "tag",
        "dot",
        "subdomain",
        "other",
        "bare",
    ],
)
def test_sameness(one: str, other: str, same_exactly: bool, same_folded: bool) -> None:
    """The exact form keeps the case of the local part, the folded one does not, and neither drops dots or tags."""
    assert same_exactly == (canonical(one) == canonical(other))
    assert same_folded == (folded(one) == folded(other))


@settings(max_examples=200, deadline=None)
@given(LOCALS, DOMAINS)
def test_canonical_and_folded_are_final(local: str, domain: str) -> None:
    """Applying either form again changes nothing, and the folded form does not care which came first."""
    address = f"{local}@{domain}"

    assert canonical(address) == canonical(canonical(address))
    assert folded(address) == folded(folded(address)) == folded(canonical(address))


@settings(max_examples=200, deadline=None)
@given(LOCALS, DOMAINS)
def test_whoever_is_exactly_the_same_is_the_same_folded(local: str, domain: str) -> None:
    """The folded form only ever joins: it has one value for all spellings that are exactly the same."""
    address = f"{local}@{domain}"
    spellings = {f"{address}.", f" {address} ", f"{local}@{domain.lower()}"}

    assert {canonical(address)} == {canonical(spelling) for spelling in spellings}
    assert {folded(address)} == {folded(spelling) for spelling in spellings}


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_no_text_is_too_odd(text: str) -> None:
    """Whatever a client says as an address, each function answers with text and none raises."""
    found = [canonical(text), folded(text), domain_of(text), untagged(text), masked(text), canonical_domain(text)]

    assert all(type(one) is str for one in found)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("Jane@Example.ORG.", "example.org"),
        ("jane@münchen.example", "xn--mnchen-3ya.example"),
        (" jane@example.org ", "example.org"),
        ("jane", ""),
        ("", ""),
    ],
    ids=["canonical", "idna", "spaces", "no_at", "nothing"],
)
def test_domain_of(address: str, expected: str) -> None:
    """The domain of an address comes in its canonical form, and empty where there is none."""
    assert expected == domain_of(address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("info+shop@example.org", "info@example.org"),
        ("info+a+b@example.org", "info@example.org"),
        ("info@example.org", "info@example.org"),
        ("+shop@example.org", "+shop@example.org"),
        ("info+shop", "info+shop"),
    ],
    ids=["tag", "two_plus_signs", "no_tag", "nothing_before", "no_domain"],
)
def test_untagged(address: str, expected: str) -> None:
    """The sub-address goes, but never the whole local part."""
    assert expected == untagged(address)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("example.org", True),
        ("mail.example.org", True),
        ("a.b.example.org", True),
        ("notexample.org", False),
        ("example.org.evil.example", False),
        ("org", False),
        ("", False),
    ],
    ids=["itself", "below", "far_below", "suffix_of_a_label", "prefix", "above", "none"],
)
def test_within(domain: str, expected: bool) -> None:
    """A domain is within ours when it is one of them or below one, label by label."""
    assert expected == within(domain, frozenset({"example.org", "example.net"}))


@pytest.mark.parametrize(
    ("address", "expected"),
    [("jane@example.org", "j•••@example.org"), ("j@example.org", "j•••@example.org"), ("jane", "•••"), ("", "•••")],
    ids=["long", "one_letter", "no_domain", "nothing"],
)
def test_masked(address: str, expected: str) -> None:
    """What others could see shows one letter and the domain, and not how long the name is."""
    assert expected == masked(address)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"q"@customer.example', "q@customer.example"),
        ('"in\\fo"@customer.example', "info@customer.example"),
        ("jose\u0301@customer.example", "jos\u00e9@customer.example"),
    ],
    ids=["quoted", "quoted pair", "NFD"],
)
def test_one_mailbox_has_one_form(one: str, other: str) -> None:
    """Two ways to write one mailbox are the same address, for grants and for refusals."""
    assert (canonical(other), folded(other)) == (canonical(one), folded(one))
