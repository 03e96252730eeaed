"""HTML: how fast every link of a page is found and wrapped, beside three others that do the same job."""

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from types import ModuleType

from bs4 import BeautifulSoup

from proxy.html import scan
from proxy.transfer import splice
from tests.bench.samples import best, newsletter, page, reply

try:
    from lxml import html as lxml_html
except ImportError:
    lxml_html: ModuleType | None = None  # type: ignore[no-redef]

WRAPPED = "https://t.example.org/l/x"


def ours(data: bytes) -> bytes:
    """Wrap every link by spans."""
    return splice(data, [(anchor.start, anchor.end, WRAPPED.encode()) for anchor in scan(data).anchors])


def with_lxml(data: bytes) -> bytes:
    """Wrap every link with lxml's tree."""
    tree = lxml_html.document_fromstring(data)
    for anchor in tree.iter("a"):
        if "href" in anchor.attrib:
            anchor.set("href", WRAPPED)
    return lxml_html.tostring(tree)  # type: ignore[no-any-return]


def with_soup(data: bytes) -> bytes:
    """Wrap every link with Beautiful Soup's tree."""
    tree = BeautifulSoup(data, "html.parser")
    for anchor in tree.find_all("a", href=True):
        anchor["href"] = WRAPPED
    return tree.encode()


class Writer(HTMLParser):
    """The standard library's parser; it keeps the text of every tag, so that the page can be put together again."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag; a link's with another address in it."""
        text = self.get_starttag_text() or ""
        href = dict(attrs).get("href") if tag == "a" else None
        self.pieces.append(text.replace(href.replace("&", "&amp;"), WRAPPED) if href else text)

    def handle_endtag(self, tag: str) -> None:
        """Keep an end tag."""
        self.pieces.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.pieces.append(data)

    def handle_entityref(self, name: str) -> None:
        """Keep a reference."""
        self.pieces.append(f"&{name};")


def with_parser(data: bytes) -> bytes:
    """Wrap every link with the standard library's parser."""
    parser = Writer()
    parser.feed(data.decode())
    parser.close()
    return "".join(parser.pieces).encode()


def wrappers() -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    """Yield who is measured, those that are installed."""
    yield "spans", ours
    if lxml_html is not None:
        yield "lxml", with_lxml
    yield "html.parser", with_parser
    yield "bs4", with_soup


def table() -> None:
    """Print megabytes per second, by page and by who does it."""
    pages = {"letter": page(500, 100), "reply": reply(500, 100), "newsletter": newsletter(500, 100)}
    print("HTML of 500 kB with 100 links: every link found and wrapped, MB/s")
    print(f"  {'':14}" + "".join(f"{name:>14}" for name, _ in wrappers()))
    for name, data in pages.items():
        rates = [len(data) / best(lambda data=data, work=work: work(data)) / 1e6 for _, work in wrappers()]
        print(f"  {name:14}" + "".join(f"{rate:14.1f}" for rate in rates))
    if lxml_html is None:
        print("  (lxml is not installed: pip install 'aboveboard[bench]')")
