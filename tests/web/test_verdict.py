"""Verdicts: who made a request, and what is never recorded."""

import pytest

from policies.words import Purpose, Verdict
from web.verdict import judge, not_recorded

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.mark.parametrize(
    ("purpose", "agent", "expected"),
    [
        pytest.param(Purpose.OPEN, "Mozilla/5.0", Verdict.PREFETCH, id="101, 138 Apple, open"),
        pytest.param(Purpose.CLICK, "Mozilla/5.0", Verdict.UNKNOWN, id="102 the same agent, click"),
        pytest.param(
            Purpose.OPEN,
            "Mozilla/5.0 (Windows NT 5.1) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
            Verdict.PROXY,
            id="103, 139 Gmail",
        ),
        pytest.param(Purpose.OPEN, "YahooMailProxy; https://help.yahoo.com/", Verdict.PROXY, id="Yahoo"),
        pytest.param(Purpose.CLICK, "python-requests/2.32.3", Verdict.SCANNER, id="a program"),
        pytest.param(Purpose.CLICK, "", Verdict.SCANNER, id="no agent at all"),
        pytest.param(Purpose.OPEN, "Mozilla/5.0 (compatible; Googlebot/2.1)", Verdict.SCANNER, id="a bot"),
        pytest.param(Purpose.OPEN, FIREFOX, Verdict.UNKNOWN, id="146 a browser is not a person by default"),
    ],
)
def test_judge(purpose: Purpose, agent: str, expected: Verdict) -> None:
    """W14: a request is judged by what it says of itself, and nobody becomes a person for looking like one."""
    assert expected is judge(purpose, {"user-agent": agent})


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", {}, False),
        ("GET", {"dnt": "0"}, False),
        ("GET", {"dnt": "1"}, True),
        ("GET", {"sec-gpc": "1"}, True),
        ("HEAD", {}, True),
        ("GET", {"sec-purpose": "prefetch"}, True),
        ("GET", {"purpose": "Prefetch"}, True),
        ("GET", {"x-purpose": "preview"}, True),
        ("GET", {"sec-purpose": "navigate"}, False),
    ],
)
def test_not_recorded(method: str, headers: dict[str, str], expected: bool) -> None:
    """HEAD, prefetching and people who ask not to be tracked are never recorded."""
    assert expected is not_recorded(method, headers)
