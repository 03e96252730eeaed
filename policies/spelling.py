"""Spelling: globs that can match nothing as they are written, each with a sentence that says what was meant.

A glob that matches nothing is a rule that never applies: mail would be tracked that was not to be.
"""

import re

from policies.address import canonical_domain
from policies.glob import overlap

_JOINED = re.compile(r"[^\s<>,;]+@[^\s<>,;]+")
# RFC 5322 §3.2.3: these stand in a local part between quotes only.
_NOT_IN_LOCAL = re.compile(r'[\s()<>\[\]:;@\\,"]')
_NOT_IN_DOMAIN = re.compile(r"[^a-z0-9_.*?-]")
_LITERAL = re.compile(r"\[[0-9a-z.:*?]+\]", re.IGNORECASE)
_WILD = re.compile(r"[*?]")


def address_trouble(glob: str) -> str | None:
    """Return why no address matches a glob, and what was meant; ``None`` where one can."""
    right = _right_address(glob)
    if right is not None:
        return f'"{glob}" matches no address; write "{right}"'
    local, at, domain = glob.rpartition("@")
    stray = None if not at or _quoted(local) else _NOT_IN_LOCAL.search(local)
    if stray is None:
        return _domain_trouble(glob, domain, "address") if at else None
    meant = [one for one in _JOINED.findall(glob) if one != glob and address_trouble(one) is None]
    return _no_match(glob, "address", ", ".join(f'"{one}"' for one in meant), stray[0])


def domain_trouble(glob: str) -> str | None:
    """Return why no domain matches a glob, and what was meant; ``None`` where one can."""
    plain = re.sub(r"^[a-z]+://|/.*$", "", glob.strip())
    right = plain.rpartition("@")[2] or "*" if "@" in plain else _right_domain(plain)
    if right is None:
        return _domain_trouble(glob, glob, "domain")
    # "de" alone means a country far more often than a forgotten ending.
    right = f"*.{plain}" if right == f"{plain}.example" else right
    return f'"{glob}" matches no domain; write "{right}"'


def url_trouble(glob: str) -> str | None:
    """Return why no web address matches a glob, and what was meant; ``None`` where one can."""
    lower = glob.lower()
    if not any(overlap(lower, one) for one in ("http://?*", "https://?*")):
        place = lower.lstrip("/")
        return f'"{glob}" matches no URL; write "https://{place}{"" if "/" in place else "/*"}"'
    host = re.sub(r"^[^/]*://", "", lower).partition("/")[0]
    return _mixed(glob, host, "URL")


def _quoted(local: str) -> bool:
    return len(local) > 1 and local.startswith('"') and local.endswith('"')


def _domain_trouble(glob: str, domain: str, what: str) -> str | None:
    if _LITERAL.fullmatch(domain):
        return None
    trouble = _mixed(glob, domain, what)
    if trouble is not None:
        return trouble
    canonical = canonical_domain(domain)
    stray = _NOT_IN_DOMAIN.search(canonical)
    if stray is None and ".." not in canonical:
        return None
    clean = re.sub(r"^[a-z]+://|/.*$|\s", "", canonical)
    meant = re.sub(r"\.\.+", ".", clean)
    possible = meant and _NOT_IN_DOMAIN.search(meant) is None and _right_domain(meant) is None
    before = glob[: len(glob) - len(domain)]
    return _no_match(glob, what, f'"{before}{meant}"' if possible else "", stray[0] if stray else "..")


def _mixed(glob: str, domain: str, what: str) -> str | None:
    """Tell of a name with letters beyond ASCII and a wildcard in one label: it is compared as ``xn--…``."""
    for label in domain.split("."):
        if not label.isascii() and _WILD.search(label):
            return f'"{glob}" matches no {what}: "{label}" is more than ASCII and must be written without * and ?'
    return None


def _no_match(glob: str, what: str, meant: str, stray: str) -> str:
    if meant:
        return f'"{glob}" matches no {what}; write {meant}'
    return f'"{glob}" matches no {what}: "{stray}" cannot stand there; besides * and ? nothing is special'


def _right_address(glob: str) -> str | None:
    """Return what an address glob should be that cannot be one; ``None`` where it can."""
    if glob.strip("*") == "":
        return None
    local, at, domain = glob.rpartition("@")
    if not at:
        return f"*@{_right_domain(glob) or glob}" if "." in glob else f"{glob}@*"
    right = _right_domain(domain)
    # "@press.example" is how other programs write everybody there; here it would be compared as a name without "@".
    return None if local and right is None else f"{local or '*'}@{right or domain}"


def _right_domain(glob: str) -> str | None:
    """Return what a domain glob should be that cannot be one; ``None`` where it can. A domain has a dot inside."""
    if _LITERAL.fullmatch(glob):
        return None
    # The ideographic full stop separates labels too (RFC 3490 §3.1).
    if glob.endswith(("*", "?")) or re.search("[.。]", glob.strip(".。")):
        return None if not glob.startswith(".") else f"*{glob}"
    name = glob.strip(".*?")
    return "*" if not name else f"*.{name}" if glob != name else f"{name}.example"
