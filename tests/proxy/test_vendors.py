"""The vendors' rules: the shipped samples, the index, everyday URLs that are nobody's."""

import pytest

from policies.vendor import VendorModel
from proxy.vendorcheck import sample_problems
from proxy.vendors import VendorRules, compile_rules, load_rules, shipped_vendors
from tests.proxy.vendor_samples import ENCODED, TARGET, own_vendor

RULES = load_rules()


@pytest.mark.parametrize("vendor", shipped_vendors(), ids=lambda vendor: vendor.id)
def test_shipped_samples(vendor: VendorModel) -> None:
    """A shipped vendor passes every check, the ones left out at start included, and does what its samples say."""
    again = VendorModel.model_validate(vendor.model_dump())
    assert [] == list(sample_problems(again))


def test_shipped_ids_are_unique() -> None:
    """No two shipped vendors have one id."""
    ids = [vendor.id for vendor in shipped_vendors()]
    assert sorted(set(ids)) == sorted(ids)


def test_vendors_do_not_contradict_each_other() -> None:
    """What one vendor's sample hits no other vendor claims, nor does another certainty or destination count."""
    contradictions = []
    for vendor in shipped_vendors():
        for mark in vendor.mark:
            for surface in mark.on:
                for at, url in enumerate(mark.hit):
                    found = RULES.link(url) if surface == "link" else RULES.resource(url, surface)
                    assert found is not None, url
                    agrees = found.certainty in (mark.certainty, "certain")
                    target = mark.target[at] if mark.target else None
                    if found.vendor != vendor.id or not agrees or (surface == "link" and RULES.target(url) != target):
                        contradictions.append((vendor.id, found.vendor, url))
    assert [] == contradictions


ORDINARY = [
    "https://www.example.org/",
    "https://www.example.org/spacer.gif",
    "https://www.example.org/o/logo.png",
    "https://www.example.org/open/house.html?d=1",
    "https://www.example.org/track/open-day.jpg",
    "https://www.example.org/img/2026/summer/team.gif",
    "https://www.example.org/e/events",
    "https://www.example.org/q/questions",
    "https://www.example.org/r/?page=2",
    "https://www.example.org/t/o?tab=1",
    "https://www.example.org/imp?ressum=1",
    "https://www.example.org/link/original.png",
    "https://www.example.org/lists/unsubscribe?u=1",
    "https://shop.example.com/a.png?ref=t.yesware.com",
    "https://shop.example.com/product/42?utm_source=newsletter&utm_medium=email",
    "https://shop.example.com/r?url=https%3A%2F%2Fa.example%2F",
    "https://shop.example.com/cart?id=1&u=2",
    "https://parcel.example.com/track?REF=VD05123456789",
    "https://cdn.shopify.com/s/files/1/0001/0002/files/logo.png?v=1",
    "https://images.example.net/lib/fe9b/m/1/logo.png",
    "https://d3k81ch9hvuctc.cloudfront.net/company/AbC/images/a.png",
    "https://res.cloudinary.com/example/image/upload/v1/logo.png",
    "https://i.imgur.com/AbCdEfG.png",
    "https://www.gravatar.com/avatar/0a1b2c3d?s=80",
    "https://fonts.googleapis.com/css2?family=Roboto",
    "https://fonts.gstatic.com/s/roboto/v30/a.woff2",
    "https://use.typekit.net/abc1def.css",
    "https://cdn.jsdelivr.net/npm/bootstrap@5/dist/css/bootstrap.min.css",
    "https://cdnjs.cloudflare.com/ajax/libs/font-awesome/6/css/all.min.css",
    "https://attachments.office.net/owa/someone%40example.com/service.svc/s/GetAttachmentThumbnail?id=1",
    "https://outlook.office365.com/owa/?path=/calendar",
    "https://teams.microsoft.com/l/meetup-join/19%3ameeting_AbC/0",
    "https://www.microsoft.com/en-us/microsoft-365",
    "https://example.sharepoint.com/:w:/s/team/AbC?e=DeF",
    "https://forms.office.com/r/AbCdEf",
    "https://aka.ms/LearnAboutSenderIdentification",
    "https://zoom.us/j/1234567890?pwd=AbC",
    "https://docs.google.com/document/d/1AbC/edit",
    "https://drive.google.com/file/d/1AbC/view",
    "https://lh3.googleusercontent.com/a/AbC=s96-c",
    "https://ci3.googleusercontent.com/mail-sig/AIorK4AbC",
    "https://ci3.googleusercontent.com/meips/X#https://www.example.org/logo.png",
    "https://www.google.com/maps/place/Vienna",
    "https://www.google.com/url?q=https%3A%2F%2Fa.example%2F",
    "https://www.googletagmanager.com/gtm.js?id=GTM-1",
    "https://www.youtube.com/watch?v=AbC",
    "https://www.facebook.com/example",
    "https://www.instagram.com/example/",
    "https://www.linkedin.com/in/example/",
    "https://static.licdn.com/sc/p/com.linkedin.email/logo.png",
    "https://x.com/example",
    "https://github.com/example/project/issues/1",
    "https://avatars.githubusercontent.com/u/1?v=4",
    "https://www.amazon.de/dp/B000000000?tag=a",
    "https://images-na.ssl-images-amazon.com/images/G/01/nav/transp.gif",
    "https://example.list-manage.com/unsubscribe?u=1&id=2",
    "https://mcusercontent.com/0a1b/images/2c3d.png",
    "https://www.mailtrack.io.example/trace/mail/1.png",
    "https://sendgrid.com/en-us/pricing",
    "https://app.hubspot.com/contacts/1",
    "https://www.hubspot.com/hubfs/logo.png",
    "https://example.zendesk.com/attachments/token/AbC/?name=a.png",
    "https://secure.gravatar.com/t/1.png",
    "https://signature.example.de/img/banner.jpg?u=someone",
    "https://mail.example.de/SOGo/so/",
    "https://www.docusign.net/Signing/EmailStart.aspx?a=1",
    "https://calendly.com/example/30min",
    "https://bit.ly/3AbCdEf",
    "https://t.co/AbCdEf",
    "https://mail.example.org/l/AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGh_-",
    "https://mail.example.org/o/AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGh_-AbCdEfGhIjKlMnOpQr.gif",
    "https://fooopen.tracker.example/x",
    "mailto:someone@example.org?subject=t.yesware.com",
    "cid:image001.gif@01DA",
    "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
    "tel:+431234",
    "/o/eJwAbCdEf",
    "#top",
    "",
]


@pytest.mark.parametrize("url", ORDINARY)
def test_ordinary_urls(url: str) -> None:
    """No vendor claims a page, an image, a style sheet or an unsubscribe link of everyday mail."""
    found = (RULES.resource(url, "image"), RULES.resource(url, "css"), RULES.link(url), RULES.target(url))
    assert (None, None, None, None) == found


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://T.YESWARE.COM/t/a/b/spacer.gif", id="8: case"),
        pytest.param("https://t.yesware.com./t/a/b.gif", id="9: trailing dot"),
        pytest.param("//t.yesware.com/t/a/b.gif", id="10: no scheme"),
        pytest.param("http://t.yesware.com:8080/t/a/b.gif", id="port"),
        pytest.param("https://someone:word@t.yesware.com/t/a/b.gif", id="user information"),
        pytest.param("https://t%2Eyesware.com/t/a/b.gif", id="escaped host"),
        pytest.param("https://t。yesware。com/t/a/b.gif", id="ideographic full stops"),
        pytest.param("https://ｔ.yesware.com/t/a/b.gif", id="full-width letter"),
        pytest.param("https:\\\\t.yesware.com\\t\\a\\b.gif", id="backslashes"),
        pytest.param(" https://t.yes\n\tware.com/t\n/a/b.gif", id="white space that browsers drop"),
        pytest.param("HTTPS://eu.t.yesware.com/t/a/b.gif", id="label in front"),
        pytest.param(
            "https://ci3.googleusercontent.com/meips/X=s0-d#https://t.yesware.com/t/a/b.gif", id="17: proxied"
        ),
    ],
)
def test_spellings_of_a_host(url: str) -> None:
    """A host is the same in every spelling that a mail program follows."""
    found = RULES.resource(url, "image")
    assert found is not None
    assert ("yesware", "Yesware", "tool", "certain", None) == (
        found.vendor, found.name, found.kind, found.certainty, found.decode,
    )  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://t.yesware.com.evil.example/t/x.gif", id="14: suffix"),
        pytest.param("https://not-t.yesware.com.example/t/x.gif", id="prefix and suffix"),
        pytest.param("https://xt.yesware.com/t/x.gif", id="no label boundary"),
        pytest.param("https://evil.example/t.yesware.com/t/x.gif", id="in the path"),
        pytest.param("https://t.yesware.com@evil.example/t/x.gif", id="in the user information"),
        pytest.param("https://evil.example\\@t.yesware.com/t/x.gif", id="behind a backslash"),
        pytest.param("https://evil.example?@t.yesware.com/t/x.gif", id="in the query"),
        pytest.param("https://evil.example#@t.yesware.com/t/x.gif", id="in the fragment"),
        pytest.param("https://evil.example/#https://t.yesware.com/t/x.gif", id="in the fragment of no proxy"),
        pytest.param("https:/t.yesware.com/t/x.gif", id="one slash"),
        pytest.param("ftp://t.yesware.com/t/x.gif", id="scheme"),
        pytest.param("https://yesware.com/t/x.gif", id="label missing"),
        pytest.param("https://mimecast.com.evil.example/s/x?url=https%3A%2F%2Fa.example", id="78"),
        pytest.param("https://[t.yesware.com]/t/x.gif", id="brackets"),
    ],
)
def test_look_alikes(url: str) -> None:
    """A host that only looks like a vendor's is nobody's."""
    assert (None, None, None) == (RULES.resource(url, "image"), RULES.link(url), RULES.target(url))


def test_app_engine_hosts() -> None:
    """App Engine's way of writing a dot counts as one, there and nowhere else."""
    links = [f"https://{host}/Redirect?ukey=a&link={ENCODED}" for host in (
        "a-dot-yamm-track.appspot.com", "a-dotyamm-track.appspot.com", "a-dot-yamm-track.appspot.com.example",
    )]  # fmt: skip
    assert [TARGET, None, None] == [RULES.target(link) for link in links]


def test_numbers_in_hosts() -> None:
    """A # in a rule's host stands for any number, and for nothing else."""
    hosts = ["t.sidekickopen07.com", "t.sidekickopen123.com", "t.sidekickopen.com", "t.sidekickopenx.com"]
    found = [RULES.resource(f"https://{host}/e1t/o/5/abc", "css") for host in hosts]
    # The two others are known by the path that HubSpot's pixels have on any host.
    assert ["hubspot-sales", "hubspot-sales", "hubspot", "hubspot"] == [one.vendor if one else None for one in found]


class TestIndex:
    """Which of several marks counts."""

    def test_certain_before_likely(self) -> None:
        """A certain mark of a shorter suffix counts before a likely one of a longer."""
        likely = own_vendor(host=["a.t.vendor.example"], certainty="likely", decode="opaque", target=[])
        found = compile_rules([likely, own_vendor()]).link("https://a.t.vendor.example/c/?u=x")
        assert found is not None
        assert ("certain", "query u") == (found.certainty, found.decode)

    def test_likely(self) -> None:
        """A likely mark counts where there is no other."""
        found = compile_rules([own_vendor(certainty="likely")]).link("https://t.vendor.example/c/?u=x")
        assert found is not None
        assert "likely" == found.certainty

    def test_longest_suffix_first(self) -> None:
        """Of two certain marks the one of the longer suffix counts."""
        longer = own_vendor(host=["a.t.vendor.example"], decode="query v")
        assert TARGET == compile_rules([own_vendor(), longer]).target(f"https://a.t.vendor.example/c/?u=x&v={ENCODED}")

    @pytest.mark.parametrize(
        ("query", "known"),
        [("b=1&a=2", True), ("a&b", True), ("a=1", False), ("ba=1&ab=1", False), ("", False), ("x=1&b=&a=3", True)],
    )
    def test_query_keys(self, query: str, known: bool) -> None:
        """Every query key of a rule must be there, in any order."""
        found = compile_rules([own_vendor(query=["a", "b"])]).link(f"https://t.vendor.example/c/?{query}")
        assert known == (found is not None)

    @pytest.mark.parametrize(
        ("query", "known"), [("l=open", True), ("c=1&l=open&d", True), ("l=opening", False), ("l", False)]
    )
    def test_query_values(self, query: str, known: bool) -> None:
        """A key with a value must be there with exactly that value."""
        found = compile_rules([own_vendor(query=["l=open"])]).link(f"https://t.vendor.example/c/?{query}")
        assert known == (found is not None)

    def test_any_host_needs_a_destination(self) -> None:
        """A link of any host is a tracker's only if a destination can be read out of it."""
        rules = compile_rules([own_vendor(host=["*"])])
        assert rules.link("https://www.example.org/c/?u=about") is None
        assert rules.link(f"https://www.example.org/c/?u={ENCODED}") is not None

    def test_surfaces_are_apart(self) -> None:
        """A mark counts only where it says it may stand (case 19)."""
        url = "https://email.news.example/o/eJwNyrEKwjAAAbCdEf"
        assert RULES.resource(url, "image") is not None
        assert RULES.link(url) is None

    def test_switched_off(self) -> None:
        """A vendor that is switched off is not known any more, and others are."""
        rules = load_rules(off=["yesware"])
        assert rules.resource("https://t.yesware.com/t/a/b.gif", "image") is None
        assert rules.resource("https://mailfoogae.appspot.com/t?sender=a", "image") is not None

    def test_own_rules(self) -> None:
        """The organisation's own rules stand beside the shipped ones."""
        rules = load_rules([own_vendor()])
        assert TARGET == rules.target(f"https://t.vendor.example/c/?u={ENCODED}")
        assert rules.resource("https://t.yesware.com/t/a/b.gif", "image") is not None


class TestElements:
    """Elements that a vendor's program writes."""

    @pytest.mark.parametrize(
        ("tag", "attributes", "vendor"),
        [
            ("img", {"class": "mailtrack-img", "src": "https://x.example/1.png"}, "mailtrack"),
            ("img", {"class": "a\n MAILTRACK-IMG b"}, "mailtrack"),
            ("div", {"hspace": "streak-pt-mark", "style": "max-height:1px"}, "streak"),
            ("img", {"id": "_eoa_img"}, "email-on-acid"),
            ("img", {"id": "_two50_img"}, "two50"),
        ],
    )
    def test_known(self, tag: str, attributes: dict[str, str], vendor: str) -> None:
        """An element is known by one word of one attribute, in any case (cases 4 to 6)."""
        found = RULES.element(tag, attributes)
        assert found is not None
        assert (vendor, "element") == (found.vendor, found.remove)

    @pytest.mark.parametrize(
        ("tag", "attributes"),
        [
            ("img", {"class": "mailtrack-image"}),
            ("img", {"id": "mailtrack-img"}),
            ("div", {"class": "mailtrack-img"}),
            ("div", {}),
            ("img", {"class": ""}),
        ],
    )
    def test_unknown(self, tag: str, attributes: dict[str, str]) -> None:
        """Another word, attribute or element is nobody's."""
        assert RULES.element(tag, attributes) is None


def test_nothing_is_loaded_twice() -> None:
    """The shipped file is read once in a process."""
    assert shipped_vendors() is shipped_vendors()
    assert isinstance(load_rules(), VendorRules)
