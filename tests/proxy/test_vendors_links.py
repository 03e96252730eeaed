"""Where the links of the shipped vendors lead (cases/trackers.md §5), and any text at all in their place."""

import base64
import json
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.vendors import compile_rules, load_rules
from tests.proxy.vendor_samples import ENCODED, TARGET, own_vendor

RULES = load_rules()
YESWARE = "https://t.yesware.com/tl/0a/1b/2c?ytl="


def _mandrill(url: str) -> str:
    payload = json.dumps({"p": json.dumps({"u": 1, "url": url})})
    packed = base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")
    return f"https://mandrillapp.com/track/click/30000001/a.example?p={packed}"


@pytest.mark.parametrize(
    ("link", "target"),
    [
        pytest.param(f"{YESWARE}http%3A%2F%2Fexample.com%2F", "http://example.com/", id="62, 63"),
        pytest.param("https://t.sidekickopen07.com/e1t/c/5/ID?t=https%3A%2F%2Fa.example", "https://a.example", id="64"),
        pytest.param(f"https://id.streak-link.com/{'Ab1-' * 6}/{ENCODED}", TARGET, id="65"),
        pytest.param(
            "https://mailtrack.io/trace/link/ID?url=https%3A%2F%2Fa.example&w=x", "https://a.example", id="66"
        ),
        pytest.param("https://l.mailtrack.com/l/0a1b2c3d4e5f60718293?u=1", None, id="67"),
        pytest.param("https://x.na1.hs-sales-engage.com/Ctc/RL+1/x/y", None, id="68"),
        pytest.param("a.example", None, id="69"),
        pytest.param(
            "https://abc.r.eu-west-1.awstrack.me/L0/https:%2F%2Fa.example%2Fp%3Fq=1/1/MSG/SIG=1",
            "https://a.example/p?q=1",
            id="71",
        ),
        pytest.param(
            "https://mail.brand.example/CL0/https:%2F%2Fa.example%2Fgo%3Fredirect=https%253A%252F%252Fb.example%252Ff.pdf/1/M/S",
            "https://a.example/go?redirect=https%3A%2F%2Fb.example%2Ff.pdf",
            id="72",
        ),
        pytest.param(_mandrill("https://a.example"), "https://a.example", id="73"),
        pytest.param("https://mandrillapp.com/track/click/30000001/a.example?p=e30", None, id="73: malformed"),
        pytest.param("https://click.pstmrk.it/3s/a.example%2Fp/AA/BB", "https://a.example/p", id="74"),
        pytest.param("https://click.pstmrk.it/4s/a.example%2Fp/AA/BB", None, id="74: other version"),
        pytest.param("https://click.pstmrk.it/3s/a.example%ZZ/AA/BB", None, id="74: broken escape"),
        pytest.param(
            "https://x.acemlna.com/Prod/link-tracker?redirectUrl=aHR0cHM6Ly9hLmV4YW1wbGUv",
            "https://a.example/",
            id="75",
        ),
        pytest.param(
            "https://x.acemlna.com/Prod/link-tracker?redirectUrl=amF2YXNjcmlwdDphbGVydCgxKQ%3D%3D",
            None,
            id="75: script",
        ),
        pytest.param(f"{YESWARE}data%3Atext%2Fhtml,x", None, id="76: data"),
        pytest.param(f"{YESWARE}file%3A%2F%2F%2Fetc%2Fpasswd", None, id="76: file"),
        pytest.param(f"{YESWARE}%2F%2Fa.example%2F", None, id="76: no scheme"),
        pytest.param(f"{YESWARE}https%3A%2F%2Fuser%3Apw%40a.example%2F", None, id="76: user information"),
        pytest.param("https://protect-eu.mimecast.com/s/AbC?domain=example.com", None, id="79"),
        pytest.param(
            f"https://eur01.safelinks.protection.outlook.com/?url={ENCODED}&data=05&sdata=a&reserved=0", TARGET, id="80"
        ),
        pytest.param(
            "https://urldefense.com/v3/__http://www.example.com/*test__;Iw!!a!b$",
            "http://www.example.com/#test",
            id="81",
        ),
        pytest.param("https://urldefense.com/v3/__http://www.example.com/*a*b__;Iw!!a!b$", None, id="81: too few"),
        pytest.param("https://urldefense.com/v3/__http://www.example.com/*a__;IyM!!a!b$", None, id="81: too many"),
        pytest.param(
            "https://urldefense.com/v3/__http://e.example/**Ax**Ay__;w6Pigqw!!a!b$", None, id="81: uneven runs"
        ),
        pytest.param(
            "https://urldefense.com/v3/__https:/a.example/x%2Fy__;!!a!b$", "https://a.example/x%2Fy", id="81: one slash"
        ),
        pytest.param("https://example.us1.list-manage.com/unsubscribe?u=1&id=2&e=3", None, id="82"),
        pytest.param("https://mail.example.org/l/" + "AbCdEfGhIjKlMnOpQrSt" * 4, None, id="84"),
        pytest.param("https://parcel.example/track?REF=VD05123456789", None, id="85"),
    ],
)
def test_cases(link: str, target: str | None) -> None:
    """Links lead where the case list says; what cannot be read or must stay has no destination."""
    assert target == RULES.target(link)


@pytest.mark.parametrize(
    ("link", "decode"),
    [
        pytest.param("https://l.mailtrack.com/l/0a1b2c3d4e5f60718293?u=1", "opaque", id="67"),
        pytest.param("https://x.na1.hs-sales-engage.com/Ctc/RL+1/x/y", "opaque", id="68"),
        pytest.param("https://protect-eu.mimecast.com/s/AbC?domain=example.com", "opaque", id="79"),
        pytest.param(f"{YESWARE}file%3A%2F%2F%2Fetc%2Fpasswd", "query ytl", id="76"),
    ],
)
def test_known_without_a_destination(link: str, decode: str) -> None:
    """A link whose destination cannot be had is still known, with how it would be read."""
    found = RULES.link(link)
    assert found is not None
    assert decode == found.decode


def test_tracker_as_text() -> None:
    """An anchor text that is itself a tracker's URL is known as one, so that it is nobody's destination (case 70)."""
    assert RULES.link(f"{YESWARE}{ENCODED}") is not None


def test_gateways_say_so() -> None:
    """The kind tells the caller not to unwrap link protection by default (case 80)."""
    found = RULES.link(f"https://eur01.safelinks.protection.outlook.com/?url={ENCODED}")
    assert found is not None
    assert "gateway" == found.kind


def _wrapped(url: str, times: int) -> str:
    for _ in range(times):
        url = YESWARE + quote(url, safe="")
    return url


class TestChains:
    """Trackers inside trackers (case 77)."""

    @pytest.mark.parametrize(("layers", "target"), [(1, TARGET), (2, TARGET), (3, TARGET), (4, None), (5, None)])
    def test_depth(self, layers: int, target: str | None) -> None:
        """Three layers are taken off; a deeper chain is left whole."""
        assert target == RULES.target(_wrapped(TARGET, layers))

    def test_mixed(self) -> None:
        """A chain may run through several vendors."""
        inner = f"https://abc.r.eu-west-1.awstrack.me/L0/{ENCODED}/1/MSG/SIG=1"
        assert TARGET == RULES.target(_wrapped(inner, 1))

    def test_opaque_end(self) -> None:
        """A chain ends at a link that cannot be read, which is where its outer layers lead."""
        inner = "https://l.mailtrack.com/l/0a1b2c3d4e5f60718293?u=1"
        assert inner == RULES.target(_wrapped(inner, 2))

    def test_undecodable_end(self) -> None:
        """A chain with a layer that leads nowhere is left whole."""
        assert RULES.target(_wrapped(f"{YESWARE}javascript%3Aalert(1)", 1)) is None

    def test_gateway_inside(self) -> None:
        """A tool's layer comes off, the protection behind it stays."""
        gateway = f"https://eur01.safelinks.protection.outlook.com/?url={ENCODED}"
        assert gateway == RULES.target(_wrapped(gateway, 1))

    def test_gateway_outside(self) -> None:
        """Who asks for what is behind a gateway hears where it leads in the end."""
        inner = _wrapped(TARGET, 1)
        assert TARGET == RULES.target(f"https://eur01.safelinks.protection.outlook.com/?url={quote(inner, safe='')}")

    def test_cycle(self) -> None:
        """A link that leads to itself leads nowhere."""
        rules = compile_rules(
            [own_vendor(host=["t.vendor.example"], path="/l/", decode="rest https", target=["https://a.example/"])]
        )
        assert "https://a.example/" == rules.target("https://t.vendor.example/l/a.example/")
        assert rules.target("https://t.vendor.example/l/t.vendor.example/l/") is None


URLS = st.one_of(
    st.text(),
    st.text(alphabet="htps:/\\.@#?&=%20AZ*_;!-[]\n\t\u3002\xfc"),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "https:", "http:", "HTTP:", "ftp:"]),
        st.sampled_from(["//", "\\\\", "/", ""]),
        st.sampled_from(
            [
                "t.yesware.com/tl/?ytl=",
                "urldefense.com/v3/",
                "urldefense.com/v2/url?u=",
                "mandrillapp.com/track/click/1/a?p=",
            ]
        ),
        st.text(alphabet="htps:/.%2F3A-_*;!abcIw=&+"),
    ),
    st.builds(lambda host, tail: f"https://{host}/{tail}", st.text(min_size=1), st.text()),
)


class TestAnyText:
    """Whatever stands in an attribute."""

    @given(URLS)
    def test_never_raises(self, url: str) -> None:
        """Every question is answered, and a destination is an absolute http or https URL without user information."""
        RULES.resource(url, "image")
        RULES.resource(url, "css")
        RULES.link(url)
        _is_a_destination(RULES.target(url))

    @given(st.binary(max_size=200))
    def test_any_bytes_inside(self, value: bytes) -> None:
        """The same holds for whatever a link carries."""
        escaped = "".join(f"%{byte:02X}" for byte in value)
        packed = base64.urlsafe_b64encode(value).decode()
        _is_a_destination(RULES.target(YESWARE + escaped))
        _is_a_destination(RULES.target(f"https://x.acemlna.com/Prod/link-tracker?redirectUrl={packed}"))
        _is_a_destination(RULES.target(f"https://mandrillapp.com/track/click/1/a?p={packed}"))

    @given(st.from_regex(r"[a-z]{1,9}(\.[a-z]{1,9}){0,2}", fullmatch=True))
    def test_look_alike_hosts(self, name: str) -> None:
        """A vendor's host as the front of another, or as the end of a longer label, is never the vendor's."""
        for host in (f"t.yesware.com.{name}", f"{name}t.yesware.com", f"t.yesware.com-{name}.example"):
            assert RULES.resource(f"https://{host}/t/a/b.gif", "image") is None

    @given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\@"), max_size=60))
    def test_round_trip(self, path: str) -> None:
        """What a vendor escapes once comes back exactly, but for what cannot stand in markup."""
        url = f"https://a.example/{path}"
        expected = url.replace('"', "%22").replace("<", "%3C").replace(">", "%3E")
        assert expected == RULES.target(YESWARE + quote(url, safe=""))


def _is_a_destination(target: str | None) -> None:
    if target is not None:
        parts = urlsplit(target)
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert "@" not in parts.netloc
        assert all(" " < char <= "~" and char not in '"<>' for char in target)
