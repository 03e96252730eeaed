"""The canonical address: how two spellings of a mailbox are compared.

A grant is compared exactly (the local part is case-sensitive, RFC 5321 §2.4); a refusal, and everything that counts
people, compares the folded form, because whoever refuses means every spelling of their address.
"""

import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, wraps

# What IDNA 2003, which Python's codec speaks, maps away or drops, and IDNA 2008 keeps (RFC 5894 §7.2).
_DEVIATIONS = frozenset("ßς\u200c\u200d")
_DOTS = str.maketrans("。．｡", "...")
_IN_LABELS = "LMN"
"""Letters, marks and numbers, by Unicode's categories: what IDNA 2008 has in a label (RFC 5892 §2.1), and some more."""


def split(address: str) -> tuple[str, str]:
    """Return (local part, domain) of an address; the domain is empty where there is no ``@``."""
    local, _, domain = address.rpartition("@")
    return (local, domain) if local else (domain, "")


def canonical_domain(domain: str) -> str:
    """Return the domain in lower case and in its IDNA A-label form, without a trailing dot.

    A label in which something stands that no domain has comes back in lower case: it then equals only itself.
    """
    domain = domain.rstrip(".").lower()
    if domain.isascii():
        return domain
    # Of what is a dot in other scripts too (RFC 3490 §3.1), a last one may be left.
    domain = domain.translate(_DOTS).rstrip(".")
    return ".".join(label if label.isascii() else _a_label(label) for label in domain.split("."))


def _a_label(label: str) -> str:
    # straße.example and strasse.example are two domains: a grant for one must not count for the other.
    if _DEVIATIONS.isdisjoint(label):
        with suppress(UnicodeError):
            return label.encode("idna").decode("ascii")
        # IDNA 2003 has no word for names that end in a vowel sign, as Dhivehi ones do, or in a digit (RFC 5893 §4).
        if not all(one == "-" or unicodedata.category(one)[0] in _IN_LABELS for one in label):
            return label
    return "xn--" + unicodedata.normalize("NFC", label).encode("punycode").decode("ascii")


_LONGEST = 320
"""Characters of an address that is remembered: those of mailboxes (RFC 5321 §4.5.3.1), and not all that a To says."""


def _remembered(compute: Callable[[str], str]) -> Callable[[str], str]:
    """Have the last answers about addresses kept: the same few are compared many times for one message."""
    kept = lru_cache(maxsize=256)(compute)

    @wraps(compute)
    def answer(address: str) -> str:
        return kept(address) if len(address) <= _LONGEST else compute(address)

    return answer


@_remembered
def canonical(address: str) -> str:
    """Return the address for an exact comparison: the local part without quotes and in NFC, the domain canonical.

    ``"q"@example.org`` and ``q@example.org`` are one mailbox (RFC 5321 §4.1.2), and so are two ways to write an accent
    (RFC 6531 §3.1 asks for NFC).
    """
    local, domain = split(address.strip())
    local = unicodedata.normalize("NFC", unquoted(local))
    return f"{local}@{canonical_domain(domain)}" if domain else local


def unquoted(local: str) -> str:
    """Return a local part as it is meant: without the quotes around it and what quotes a character in it."""
    if len(local) < 2 or not (local.startswith('"') and local.endswith('"')):
        return local
    return re.sub(r"\\(.)", r"\1", local[1:-1], flags=re.DOTALL)


@_remembered
def folded(address: str) -> str:
    """Return the address for a comparison that errs towards "the same person": the local part case-folded too."""
    local, domain = split(canonical(address))
    local = unicodedata.normalize("NFC", local.casefold())
    return f"{local}@{domain}" if domain else local


def domain_of(address: str) -> str:
    """Return the canonical domain of an address, or an empty string."""
    return canonical_domain(split(address.strip())[1])


def untagged(address: str) -> str:
    """Return a folded address without its sub-address (RFC 5233): ``info+shop@example.org`` is read at ``info@``."""
    local, domain = split(address)
    return f"{local.partition('+')[0] or local}@{domain}" if domain else local


def within(domain: str, domains: frozenset[str]) -> bool:
    """Tell whether a canonical domain is one of ``domains`` or below one of them."""
    while domain:
        if domain in domains:
            return True
        _, _, domain = domain.partition(".")
    return False


def domains_of(address: str) -> list[str]:
    """Return the canonical domain of an address and those above it that are no top-level domain, nearest first."""
    found, domain = [], domain_of(address)
    while "." in domain:
        found.append(domain)
        _, _, domain = domain.partition(".")
    return found


def masked(address: str) -> str:
    """Return the address as it may be shown on a page that others could see: ``j•••@example.org``."""
    local, domain = split(address)
    return f"{local[:1]}•••@{domain}" if domain else "•••"
