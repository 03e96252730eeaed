"""The demo: started as people start it, read in the browser's place, and ended with Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from bs4 import BeautifulSoup

from aboveboard.demo import SITE, filled
from aboveboard.mailbox import readable
from tests.aboveboard.calling import keep_from_beginning

SAMPLES = sorted(Path("aboveboard/samples").glob("*.eml"))
RECEIVED = rb"Received: by [^\r\n]+\r\n"


@dataclass
class Running:
    """A demo that runs: its addresses, its process, and the folders it may use."""

    mailbox: str
    sender: str
    stop: str
    process: subprocess.Popen[str]
    temporary: Path
    here: Path

    @property
    def public_url(self) -> str:
        """Where the pixels and links of the relay lead."""
        return self.stop.partition("/stop/")[0]

    def get(self, path: str) -> httpx2.Response:
        """Return a page of the mailbox."""
        return fetch("GET", self.mailbox + path)

    def frame(self, number: int) -> BeautifulSoup:
        """Return a message as the mailbox shows it."""
        return BeautifulSoup(self.get(f"message/{number}/frame").text, "html.parser")


def fetch(method: str, url: str) -> httpx2.Response:
    """Return an answer; redirects are not followed."""
    with httpx2.Client(trust_env=False, timeout=30) as client:
        return client.request(method, url)


def start(temporary: Path, here: Path, *options: str) -> "subprocess.Popen[str]":
    """Start the demo in a folder of its own."""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.Popen(
        [sys.executable, "-m", "aboveboard", "demo", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=here, env=environment,
        start_new_session=True,
    )  # fmt: skip


@contextmanager
def demo(folder: Path) -> Iterator[Running]:
    """Run the demo."""
    temporary, here = folder / "temporary", folder / "here"
    temporary.mkdir()
    here.mkdir()
    with start(temporary, here) as process:
        assert process.stdout is not None
        addresses: list[str] = []
        for line in process.stdout:
            addresses += re.findall(r"http://\S+", line)
            if len(addresses) == 3:
                break
        else:
            pytest.fail(process.communicate()[1])
        try:
            yield Running(*addresses, process, temporary, here)
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A demo that the tests only look at."""
    with demo(tmp_path_factory.mktemp("demo")) as found:
        yield found


def test_the_message_to_who_agreed_is_tracked(running: Running) -> None:
    """It has one pixel, its three links lead through the relay, and its footer leads to the refusal page."""
    frame = running.frame(1)

    links = [str(link["href"]) for link in frame.find_all("a")]
    assert [str(image["src"]).startswith(f"{running.public_url}/o/") for image in frame.find_all("img")] == [True]
    assert len([link for link in links if link.startswith(f"{running.public_url}/l/")]) == 3
    assert links[-1] == running.stop


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (2, "never answered"),
        (3, "said no"),
        (4, "More than one person"),
        (6, "signed"),
    ],
    ids=["never_answered", "refused", "group", "signed"],
)
def test_every_other_message_is_the_same_to_the_byte(running: Running, number: int, said: str) -> None:
    """It arrives as it was sent, behind one Received line, and the page says so and why."""
    sent, delivered = (running.get(f"message/{number}/{side}.eml").content for side in ("sent", "delivered"))
    page = running.get(f"message/{number}").text

    assert re.fullmatch(RECEIVED, delivered.removesuffix(sent))
    assert "byte for byte the same" in page
    assert said in page


def test_somebody_elses_tracker_is_taken_out(running: Running) -> None:
    """The newsletter loses the other company's pixel and nothing else, and the page says so."""
    sent, delivered = (running.get(f"message/5/{side}.eml").content for side in ("sent", "delivered"))
    page = running.get("message/5").text
    bare = delivered.partition(b"\r\n")[2]

    assert (True, False) == (b"open.mailtracker.example" in sent, b"mailtracker" in delivered)
    kept = [line for line in sent.split(b"\r\n") if line in bare.split(b"\r\n")]
    assert len(sent.split(b"\r\n")) - len(kept) <= 2
    assert "what others put in to track it" in page
    assert "newsletter" in page


def test_somebody_elses_image_is_not_loaded(running: Running) -> None:
    """The mailbox shows images of the relay only, so that the demo asks nobody outside for anything."""
    policy = running.get("message/5/frame").headers["content-security-policy"]

    assert f"img-src {running.public_url} data:;" in policy


def test_the_list_is_in_the_order_of_sending(running: Running) -> None:
    """The mailbox lists six messages, the tracked one first, with who they are for."""
    letters = BeautifulSoup(running.get("").text, "html.parser").select(".letters > li")

    assert ["Not tracked" not in letter.text for letter in letters] == [True, False, False, False, False, False]
    assert "marie.keller@customer.test and jonas.brandt@printers.test" in letters[3].text


def test_the_changes_are_marked(running: Running) -> None:
    """The source of the tracked message marks each link twice, the pixel and the footer once, and no other line."""
    page = BeautifulSoup(running.get("message/1").text, "html.parser")

    rows = page.select(".row.changed")
    assert [row.select_one("del") is not None for row in rows] == [False, True, True, True, False, False, False]
    assert all(row.select_one(".sign") for row in rows)


def test_a_link_arrives_at_its_exact_destination(running: Running) -> None:
    """A wrapped link leads to the mailbox's landing page, query included."""
    link = str(running.frame(1).find("a", string="a box of samples")["href"])
    answer = fetch("GET", link)

    assert answer.headers["location"] == f"{running.mailbox}landing/samples?wood=oak"
    assert answer.headers["location"] in fetch("GET", answer.headers["location"]).text


def test_the_story(tmp_path: Path) -> None:
    """An opened pixel shows in the sender's view; a refusal deletes it and holds for the next message; Ctrl-C ends."""
    with demo(tmp_path) as found:
        assert "Image: loaded" not in fetch("GET", found.sender).text
        fetch("GET", str(found.frame(1).find("img")["src"]))
        assert "Image: loaded" in fetch("GET", found.sender).text

        assert "Tracking is stopped" in fetch("POST", found.stop).text
        assert "Image: loaded" not in fetch("GET", found.sender).text
        again = fetch("POST", f"{found.mailbox}message/1/again")
        assert again.headers["location"] == "/message/7"
        assert "byte for byte the same" in found.get("message/7").text

        assert list(found.temporary.glob("aboveboard-demo-*"))
        os.killpg(found.process.pid, signal.SIGINT)  # Ctrl-C in a terminal reaches every process of the demo.
        rest, complaint = found.process.communicate(timeout=60)
        assert complaint == ""
        assert (found.process.returncode, rest) == (0, "")
    assert [*found.temporary.iterdir(), *found.here.iterdir()] == []


def test_sigterm_while_it_starts(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to end before it has begun, it still leaves nothing behind."""
    keep_from_beginning("serve", tmp_path_factory.mktemp("apart"), monkeypatch)
    with start(tmp_path, tmp_path) as process:
        while not list(tmp_path.glob("aboveboard-demo-*/serve.log")):
            assert process.poll() is None
        process.terminate()
        printed, complaint = process.communicate(timeout=60)

    assert (process.returncode, printed, complaint) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--smtp-port", "--web-port", "--mailbox-port"])
def test_a_port_in_use(tmp_path: Path, option: str) -> None:
    """Where a port is taken, the demo says so in one sentence and ends with 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(tmp_path, tmp_path, option, str(port)) as process:
            printed, complaint = process.communicate(timeout=60)

    assert (process.returncode, printed) == (1, "")
    assert re.fullmatch(rf"The demo cannot run: .*127\.0\.0\.1:{port} cannot be listened on.*\n", complaint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_mail(sample: Path) -> None:
    """A sample has CRLF line endings and no line over 998 octets."""
    raw = sample.read_bytes()

    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_links_of_a_sample_lead_to_the_mailbox(sample: Path) -> None:
    """Filling in the mailbox's address changes it wherever it stands, also in an encoded part, and nothing else."""
    raw = sample.read_bytes()
    site = b"http://127.0.0.1:4"

    assert readable(filled(raw, site)) == readable(raw).replace(SITE.decode(), site.decode())
    assert filled(filled(raw, site), SITE) == filled(raw, site)
