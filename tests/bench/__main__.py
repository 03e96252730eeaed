"""``make bench``: speed as ratios against peers in the same run. Figures are for reading; no test depends on them."""

import time
from collections.abc import Callable
from html.parser import HTMLParser

from bs4 import BeautifulSoup

from policies import Decision, MessageClass, Purpose, Reason
from proxy.footer import Footer
from proxy.html import scan
from proxy.message import Reading, read_message
from proxy.rewrite import tracked
from proxy.transfer import splice

PARAGRAPH = (
    b"<p class=MsoNormal style='margin-bottom:12.0pt;line-height:115%'><span lang=EN-US style='font-size:10.0pt;"
    b'font-family:"Arial",sans-serif\'>team share the pricing would like including to and support would quarter revised'
    b" would like plan plan like offer like including plan would support to offer pricing<o:p></o:p></span></p>\r\n"
)
LINK = b'<p><a href="https://www.example.com/offer/%d?a=1&amp;b=2" style="color:#0563C1">our offer</a></p>\r\n'


def page(kilobytes: int, links: int) -> bytes:
    """Return an Outlook-like HTML page of about so many kilobytes with so many links spread over it."""
    body = []
    for number in range(links):
        body += [PARAGRAPH] * (kilobytes * 1024 // links // len(PARAGRAPH)), [LINK % number]
    return b"<html><head><style><!-- p {} --></style></head><body>" + b"".join(map(b"".join, body)) + b"</body></html>"


def message(html: bytes, attachment: int = 0) -> bytes:
    """Return a message with the page as its body, and an attachment of so many bytes."""
    head = b"From: alice@example.org\r\nTo: reader@customer.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
    part = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + html
    if not attachment:
        return head + part
    line = b"QUJD" * 19 + b"\r\n"
    return (
        head + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part
        + b"\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + line * (attachment // len(line)) + b"--b--\r\n"
    )  # fmt: skip


class FixedMarks:
    """Addresses of the length that real ones have."""

    def pixel(self) -> str:
        """Return a pixel's address."""
        return "https://track.example.org/o/" + "x" * 60 + ".gif"

    def link(self, number: int, target: str) -> str:
        """Return a link's address."""
        return "https://track.example.org/l/" + "x" * (64 + len(target) * 4 // 3)

    def stop(self) -> str:
        """Return the stop page's address."""
        return "https://track.example.org/stop/" + "x" * 82


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least time that one call took."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def ours(html: bytes) -> bytes:
    """Wrap every link by spans."""
    return splice(html, [(anchor.start, anchor.end, b"https://t.example.org/l/x") for anchor in scan(html).anchors])


def soup(html: bytes) -> bytes:
    """Wrap every link with a tree."""
    tree = BeautifulSoup(html, "html.parser")
    for anchor in tree.find_all("a", href=True):
        anchor["href"] = "https://t.example.org/l/x"
    return tree.encode()


class Positions(HTMLParser):
    """The standard library's parser, which tells where a tag stands but not where its value does."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[tuple[int, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link stands."""
        if tag == "a":
            self.found.append(self.getpos())


def positions(html: bytes) -> list[tuple[int, int]]:
    """Find every link with the standard library's parser."""
    parser = Positions()
    parser.feed(html.decode())
    return parser.found


def main() -> None:
    """Print the tables."""
    html = page(500, 100)
    decision = Decision(MessageClass.INDIVIDUAL, Reason.TRACKED, dict.fromkeys(Purpose, Reason.TRACKED), "bench")
    print(f"HTML, {len(html) // 1024} kB with 100 links: find and wrap every link")
    rates = {}
    for name, work in (("span scan and splice", ours), ("html.parser, finding only", positions), ("bs4", soup)):
        rates[name] = len(html) / seconds(lambda work=work: work(html), 5) / 1e6  # type: ignore[misc]
        times = rates["span scan and splice"] / rates[name]
        print(f"  {name:28} {rates[name]:8.1f} MB/s   ours is {times:.1f} times that")
    for text, raw in (
        ("50 kB, 20 links, 8bit", message(page(50, 20))),
        ("25 MB attachment", message(page(50, 20), 25_000_000)),
    ):
        facts = seconds(lambda raw=raw: read_message(raw, Reading()), 10) * 1000  # type: ignore[misc]
        read = read_message(raw, Reading())
        rewrite = seconds(lambda read=read: tracked(read, decision, FixedMarks(), Footer("Example GmbH")), 10) * 1000  # type: ignore[misc]
        print(f"message, {text}: facts {facts:.2f} ms, rewriting {rewrite:.2f} ms")


if __name__ == "__main__":
    main()
