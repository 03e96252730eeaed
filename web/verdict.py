"""The verdict: who fetched a pixel or followed a link, by what the request says of itself. Pure.

A guess in the cautious direction: nobody is called a person for looking like one (cases/endpoints.md, 138 to 146).
"""

import re
from collections.abc import Mapping

from policies.words import Purpose, Verdict

_PROXIES = re.compile(
    r"GoogleImageProxy|YahooMailProxy|ggpht\.com|DuckDuckGo-Mail|Proton(?:Mail)?-Image", re.IGNORECASE
)
_MACHINES = re.compile(
    r"bot\b|crawl|spider|slurp|scanner|python-|curl/|wget/|libwww|go-http-client|java/|okhttp|axios|node-fetch|ruby"
    r"|headless|phantomjs|selenium|puppeteer|facebookexternalhit|slack|whatsapp|skypeuripreview|bitlybot|barracuda"
    r"|mimecast|proofpoint|symantec|fireeye|trendmicro",
    re.IGNORECASE,
)
_APPLE_PRIVACY = "mozilla/5.0"
"""Apple's mail privacy protection loads every image ahead of time and says just this."""


def not_recorded(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request is answered but never recorded: HEAD, prefetching, and people who asked not to be tracked.

    ``headers`` are by lower-case name.
    """
    if method == "HEAD" or headers.get("dnt", "").strip() == "1" or headers.get("sec-gpc", "").strip() == "1":
        return True
    announced = (headers.get(name, "").lower() for name in ("sec-purpose", "purpose", "x-purpose", "x-moz"))
    return any("prefetch" in value or "prerender" in value or "preview" in value for value in announced)


def judge(purpose: Purpose, headers: Mapping[str, str]) -> Verdict:
    """Return who made a request, as far as it says. The answer to it never depends on this."""
    agent = headers.get("user-agent", "").strip()
    if not agent or _MACHINES.search(agent):
        return Verdict.SCANNER
    if purpose is Purpose.OPEN and agent.lower() == _APPLE_PRIVACY:
        return Verdict.PREFETCH
    if purpose is Purpose.OPEN and _PROXIES.search(agent):
        return Verdict.PROXY
    return Verdict.UNKNOWN
