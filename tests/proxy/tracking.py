"""What the tests of foreign trackers share: messages with one, what is left of them, and what is reported."""

from policies import FoundTracker
from policies.glob import pattern
from policies.vendor import VendorModel
from proxy.message import Reading
from proxy.rewrite import Outgoing, untracked
from proxy.trackers import Watch
from proxy.vendors import load_rules
from tests.proxy.samples import html_mail, read

WATCH = Watch(load_rules(), pattern([]), frozenset({"example.org"}), frozenset({"track.test:8080"}))
READING = Reading(watch=WATCH)

ID40, ID32 = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
PIXEL = f"https://t.yesware.com/t/{ID40}/{ID32}/spacer.gif"
"""One that every message may have."""
CLICK = f"https://t.yesware.com/tl/{ID40}/{ID32}/{ID32}?ytl="
OPAQUE = f"https://l.mailtrack.com/l/{ID40}?u=1"

TRACKED_PAGE = (
    f'<p>a<img src="{PIXEL}"><a href="{CLICK}https%3A%2F%2Fa.example">x</a><a href="{OPAQUE}">y</a></p>'.encode()
)
"""One with a pixel, a link that leads on, and an opaque one."""

ACME = VendorModel.model_validate(
    {
        "id": "acme",
        "name": "Acme Tracker",
        "kind": "tool",
        "source": ["made up for the tests"],
        "mark": [
            {
                "on": ["image", "css"],
                "host": ["px.acme.test"],
                "certainty": "certain",
                "hit": ["https://px.acme.test/o.gif"],
                "miss": ["https://acme.test/"],
            },
            {
                "on": ["image"],
                "host": ["maybe.acme.test"],
                "certainty": "likely",
                "hit": ["https://maybe.acme.test/o.gif"],
                "miss": ["https://acme.test/"],
            },
            {
                "on": ["link"],
                "host": ["go.acme.test"],
                "query": ["to"],
                "certainty": "certain",
                "decode": "query to",
                "hit": ["https://go.acme.test/?to=https%3A%2F%2Fa.example%2F"],
                "miss": ["https://acme.test/"],
                "target": ["https://a.example/"],
            },
        ],
        "element": [
            {
                "tag": "span",
                "attribute": "id",
                "value": "acme-box",
                "remove": "element",
                "hit": ['<span id="acme-box">'],
                "miss": ['<span id="box">'],
            }
        ],
    }
)
"""A vendor with a mark of every kind, whose names are short."""
AD = "https://px.acme.test/o.gif?r=1"
ACME_READING = Reading(watch=Watch(load_rules([ACME])))


def cleaned(html: str, reading: Reading = READING) -> Outgoing:
    """Return what is sent on of a message with this HTML where trackers are removed."""
    return untracked(read(html_mail(html.encode(), encoding=b"8bit"), reading), clean=True)


def left(html: str, reading: Reading = READING) -> str:
    """Return the HTML that is left of a message where trackers are removed."""
    return cleaned(html, reading).raw.partition(b"\r\n\r\n")[2].decode()


def reported(outgoing: Outgoing) -> list[str]:
    """Return what is reported of trackers, one word-like line for each kind, in order."""
    return [line(one) for one in outgoing.found]


def line(one: FoundTracker) -> str:
    """Return one kind of tracker as ``scope vendor surface tier action ×count``."""
    return f"{one.scope} {one.vendor or '-'} {one.surface} {one.tier} {one.action} ×{one.count}"


def told(html: str, reading: Reading = READING) -> list[str]:
    """Return what is reported of a message with this HTML."""
    return reported(cleaned(html, reading))


def clean(raw: bytes, reading: Reading = READING) -> Outgoing:
    """Return what is sent on where trackers are removed."""
    return untracked(read(raw, reading), clean=True)
