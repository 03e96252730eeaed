"""Reading a link's destination out of its own address."""

import base64
import zlib
from urllib.parse import quote

import pytest

from proxy.unwrap import MAX_TARGET, destination, run, steps, unquoted
from proxy.vendors import compile_rules
from tests.proxy.vendor_samples import ENCODED, TARGET, own_vendor

URL = b"https://a.example/"


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (b"a%20b", b"a b"),
        (b"a%2520b", b"a%20b"),
        (b"a+b", b"a+b"),
        (b"%e4%E4", b"\xe4\xe4"),
        (b"%", None),
        (b"%2", None),
        (b"a%ZZ", None),
        (b"", b""),
    ],
)
def test_unquoted(value: bytes, decoded: bytes | None) -> None:
    """Percent-escapes come off once; a plus stays, and a broken escape spoils the value."""
    assert decoded == unquoted(value)


@pytest.mark.parametrize(
    ("recipe", "value", "decoded"),
    [
        pytest.param("base64", base64.b64encode(b"??>>"), b"??>>", id="standard alphabet"),
        pytest.param("base64", base64.urlsafe_b64encode(b"??>>"), b"??>>", id="URL alphabet"),
        pytest.param("base64", b"Pz8 Pg==", b"??>>", id="space that was a plus"),
        pytest.param("base64", base64.b64encode(URL).rstrip(b"="), URL, id="no padding"),
        pytest.param("base64", b"aHR0\n", None, id="line end"),
        pytest.param("base64", b"a", None, id="truncated"),
        pytest.param("base64", b"a!bc", None, id="not base64"),
        pytest.param("base32", base64.b32encode(URL).rstrip(b"=").lower(), URL, id="base32"),
        pytest.param("base32", b"A1", None, id="not base32"),
        pytest.param("json url", b'{"url": "https://a.example/"}', URL, id="member"),
        pytest.param("json url", b'{"url": 1}', None, id="no string"),
        pytest.param("json url", b'{"u": "x"}', None, id="no member"),
        pytest.param("json url", b'["url"]', None, id="no object"),
        pytest.param("json url", b"{", None, id="no JSON"),
        pytest.param("json url", b'{"url": "\\ud800"}', None, id="half a surrogate pair"),
        pytest.param("json url", b"[" * 9_000, None, id="deep"),
        pytest.param("json url", b"\xff", None, id="not UTF-8"),
        pytest.param("zlib", zlib.compress(URL), URL, id="zlib"),
        pytest.param("zlib", zlib.compress(URL)[:-3], None, id="incomplete"),
        pytest.param("zlib", b"x", None, id="not zlib"),
        pytest.param("zlib", zlib.compress(b"a" * 2_000_000), None, id="bomb"),
        pytest.param("http", b"a.example/", b"http://a.example/", id="http"),
        pytest.param("https", b"a.example:8443/", b"https://a.example:8443/", id="port"),
        pytest.param("https", b"//a.example/", None, id="no host"),
        pytest.param("https", b"javascript:alert(1)", None, id="scheme"),
        pytest.param("https", b"https://a.example/", None, id="https already"),
        pytest.param("percent", b"https%3A", b"https:", id="percent"),
        pytest.param("proofpoint2", b"https-3A__a.example_-2526", b"https://a.example/%26", id="Proofpoint 2"),
        pytest.param("proofpoint2", b"https-Zx", None, id="Proofpoint 2, broken"),
        pytest.param(
            "proofpoint3", b"__https://a.example/**Bx__;IyMj!!a!b$", b"https://a.example/###x", id="Proofpoint 3"
        ),
        pytest.param("proofpoint3", b"__https://a.example/*x__;w7w!!a!b$", b"https://a.example/\xc3\xbcx", id="UTF-8"),
        pytest.param("proofpoint3", b"__https://a.example/**!x__;IyMj!!a!b$", None, id="length that is none"),
        pytest.param("proofpoint3", b"__https://a.example/__;/w!!a!b$", None, id="side table that is none"),
        pytest.param("proofpoint3", b"https://a.example/", None, id="no frame"),
        pytest.param("base64 json p json url", base64.b64encode(b'{"p": "{\\"url\\": \\"x\\"}"}'), b"x", id="several"),
    ],
)
def test_steps(recipe: str, value: bytes, decoded: bytes | None) -> None:
    """Each step takes one layer off, or gives up."""
    assert decoded == run(value, steps(recipe.split(" ")))


def test_values_are_bounded() -> None:
    """A value longer than any destination is not even looked at."""
    assert run(b"x" * (MAX_TARGET + 1), steps(["percent"])) is None


@pytest.mark.parametrize(
    ("decoded", "url"),
    [
        (b"https://a.example", "https://a.example"),
        (b"https://[2001:db8::1]:8080/", "https://[2001:db8::1]:8080/"),
        (b"https://a.example?b", "https://a.example?b"),
        (b"https://a.example/{b}|c'd", "https://a.example/{b}|c'd"),
        (b"https://a.example/\x80", "https://a.example/%80"),
        (b"https://\xff.example/", None),
        (b"https://a.example:/", None),
        (b"https://[::g]/", None),
        (b"https://a b/", None),
        (b"https://a.example/\x7f", None),
        (b"https:/a.example/", None),
        (b"ftp://a.example/", None),
        (b"", None),
    ],
)
def test_destination(decoded: bytes, url: str | None) -> None:
    """Only an absolute http or https URL with a host and nothing that deceives is a destination."""
    assert url == destination(decoded)


class TestValues:
    """How a destination is taken out of a link."""

    @pytest.mark.parametrize(
        ("value", "target"),
        [
            pytest.param("https://a.example/a+b?c=d+e", "https://a.example/a+b?c=d+e", id="a raw plus stays"),
            pytest.param("https%3A%2F%2Fa.example%2Fa%2Bb", "https://a.example/a+b", id="an escaped plus is a plus"),
            pytest.param("https%3A%2F%2Fa.example%2Fa%2520b", "https://a.example/a%20b", id="decoded once"),
            pytest.param("https%3A%2F%2Fa.example%2Fa%20b%22", "https://a.example/a%20b%22", id="escaped for markup"),
            pytest.param("https%3A%2F%2Fa.example%2Fm%C3%BCn", "https://a.example/m%C3%BCn", id="bytes above ASCII"),
            pytest.param("https%3A%2F%2Fa.example%2Fm%FCn", "https://a.example/m%FCn", id="bytes that are not UTF-8"),
            pytest.param("https%3A%2F%2Fgr%C3%BCn.example%2F", "https://xn--grn-ioa.example/", id="IDN"),
            pytest.param("https%3A%2F%2Fa.example%2F%0D%0AX", None, id="line end"),
            pytest.param("https%3A%2F%2Fa.example%2F%00", None, id="NUL"),
            pytest.param("https%3A%2F%2Fa.example%5C%40evil.example", None, id="backslash"),
            pytest.param("https%3A%2F%2F", None, id="no host"),
            pytest.param("https%3A%2F%2F%2Fa.example", None, id="empty host"),
            pytest.param("https%3A%2F%2Fa.example%3A99999%2F", None, id="port"),
            pytest.param("https%3A%2F%2F-a.example%2F", None, id="host name"),
            pytest.param("HTTPS%3A%2F%2Fa.example%3A8443%2F", "HTTPS://a.example:8443/", id="port and case"),
            pytest.param("%20https%3A%2F%2Fa.example%2F%20", "https://a.example/", id="spaces around"),
            pytest.param("", None, id="empty"),
            pytest.param("https%3A%2F%2Fa.example%2F" + "a" * 20_000, None, id="long"),
        ],
    )
    def test_query(self, value: str, target: str | None) -> None:
        """A query value is decoded exactly once, and never damaged."""
        assert target == compile_rules([own_vendor()]).target(f"https://t.vendor.example/c/?x=1&u={value}&y=2")

    def test_first_value_counts(self) -> None:
        """Of a key that occurs twice the first value counts, as for most servers."""
        assert TARGET == compile_rules([own_vendor()]).target(f"https://t.vendor.example/c/?u={ENCODED}&u=x")

    @pytest.mark.parametrize(("in_target", "expected"), [("", "#top"), ("#own", "#own")])
    def test_fragment(self, in_target: str, expected: str) -> None:
        """The link's fragment goes with it, unless the destination has one (RFC 9110 §10.2.2)."""
        link = f"https://t.vendor.example/c/?u={quote(TARGET + in_target, safe='')}#top"
        assert TARGET + expected == compile_rules([own_vendor()]).target(link)

    @pytest.mark.parametrize(
        ("changes", "link", "target"),
        [
            pytest.param(
                {"decode": "tail u"},
                "/c/?x=1&u=https://a.example/?b=1&c=%2F#d", "https://a.example/?b=1&c=%2F#d", id="tail",
            ),
            pytest.param({"decode": "tail u"}, "/c/?xu=https://a.example/", None, id="tail: another key"),
            pytest.param(
                {"decode": "raw-rest"}, "/c/https://a.example/%2F?b#c", "https://a.example/%2F?b#c", id="raw-rest"
            ),
            pytest.param({"decode": "rest"}, "/c/https%3A%2F%2Fa.example%2F%252F", "https://a.example/%2F", id="rest"),
            pytest.param(
                {"decode": "path", "path": "/c/(?P<target>[^/]+)/"},
                "/c/https%3A%2F%2Fa.example%2F/1", "https://a.example/", id="path",
            ),
            pytest.param(
                {"decode": "raw-path", "path": "/c/(?P<target>.+)$"},
                "/c/https://a.example/%2F?b", "https://a.example/%2F", id="raw-path",
            ),
        ],
    )  # fmt: skip
    def test_places(self, changes: dict[str, object], link: str, target: str | None) -> None:
        """A destination is found where the rule says it is."""
        rules = compile_rules([own_vendor(hit=["x"], target=["x"], **changes)])
        assert target == rules.target(f"https://t.vendor.example{link}")
