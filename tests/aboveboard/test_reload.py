"""What is in force: when a changed file is taken up, what of it, and how it reaches the workers."""

import os
import pwd
from pathlib import Path

import pytest

from aboveboard import reload
from aboveboard.config import ConfigError, load, read_text
from aboveboard.reload import InForce, WatchedFile
from tests.aboveboard.calling import CONFIG

STRICTER = CONFIG + '[policy]\nopen = "never"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A configuration file."""
    found = tmp_path / "aboveboard.toml"
    found.write_text(CONFIG)
    return found


@pytest.fixture
def file(path: Path, monkeypatch: pytest.MonkeyPatch) -> WatchedFile:
    """The file as it is watched, taken once, looked at as often as it is asked about."""
    monkeypatch.setattr(reload, "LOOK_SECONDS", 0.0)
    watched = WatchedFile(path)
    watched.take_first()
    return watched


def looks(file: WatchedFile, count: int = 3) -> list[bool]:
    """Return what several looks at a file say."""
    return [file.changed() for _ in range(count)]


def replaced(path: Path, text: str) -> None:
    """Write a new file beside one and put it in its place, as careful editors do."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def begun(path: Path) -> InForce:
    """Return what is in force at the beginning."""
    return InForce.begin(path, WatchedFile(path).take_first())


def renewed(before: InForce, text: str) -> InForce:
    """Return what is in force after the file says something else."""
    replaced(before.path, text)
    return before.renewed(WatchedFile(before.path).take_first())


def test_an_unchanged_file_is_not_taken_again(file: WatchedFile) -> None:
    """A file that nobody touches is never read again."""
    assert [False, False, False] == looks(file)


@pytest.mark.parametrize("change", [replaced, Path.write_text], ids=["replaced", "written in place"])
def test_a_changed_file_is_noticed_once(file: WatchedFile, change: object) -> None:
    """A new file in its place, or new text in it, is noticed when it is seen twice the same, and only until taken."""
    assert callable(change)
    change(file.path, STRICTER)
    assert [False, True] == looks(file, 2)
    taken = file.take()
    assert taken is not None
    assert STRICTER == taken.text
    assert [False, False] == looks(file, 2)


def test_a_change_of_the_same_size_is_noticed(file: WatchedFile) -> None:
    """The size is not all that is looked at."""
    replaced(file.path, CONFIG.replace("Example", "Elpmaxe"))
    assert [False, True] == looks(file, 2)


def test_a_file_that_is_being_written_is_waited_for(file: WatchedFile) -> None:
    """As long as every look finds another file, none is taken: half a policy may allow more than a whole one."""
    half = len(STRICTER) // 2
    seen = []
    for text in (STRICTER[:1], STRICTER[:half], STRICTER):
        file.path.write_text(text)
        seen.append(file.changed())
    assert [False, False, False] == seen
    assert file.changed()


def test_a_file_that_changes_while_it_is_read_is_read_again(file: WatchedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read while somebody wrote is thrown away, whether it was right or not; the next reading counts."""
    texts = iter(["[organisation", CONFIG, STRICTER])

    def written_meanwhile(path: Path) -> str:
        text = read_text(path)
        if (following := next(texts, None)) is not None:
            replaced(path, following)
        return text

    monkeypatch.setattr(reload, "read_text", written_meanwhile)
    assert [None, None, None] == [file.take() for _ in range(3)]
    taken = file.take()
    assert taken is not None
    assert STRICTER == taken.text


def test_a_missing_file_is_said_once(file: WatchedFile) -> None:
    """A file that is away is an error once, not at every look, and is taken when it is back."""
    file.path.unlink()
    assert [False, True] == looks(file, 2)
    with pytest.raises(ConfigError, match="cannot be read"):
        file.take()
    assert [False, False] == looks(file, 2)
    file.path.write_text(CONFIG)
    assert [False, True] == looks(file, 2)


def test_a_pipe_in_the_file_s_place_is_not_waited_for(file: WatchedFile) -> None:
    """A pipe that nobody writes to is an error like a missing file: who opened it would do nothing else any more."""
    file.path.unlink()
    os.mkfifo(file.path)
    assert [False, True] == looks(file, 2)
    with pytest.raises(ConfigError, match="is no ordinary file any more"):
        file.take()
    assert [False, False] == looks(file, 2)


def test_a_file_that_never_rests_is_no_beginning(file: WatchedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start a file that changes all the time ends in one sentence."""
    monkeypatch.setattr(reload, "_START_PAUSE", 0.0)
    monkeypatch.setattr(WatchedFile, "take", lambda _: None)
    with pytest.raises(ConfigError, match="is being changed all the time"):
        file.take_first()


def test_the_author_is_the_file_s_owner(file: WatchedFile) -> None:
    """A version's author is the account that the file belongs to."""
    taken = file.take()
    assert taken is not None
    assert pwd.getpwuid(os.getuid()).pw_name == taken.author


@pytest.mark.parametrize(
    ("text", "section"),
    [
        (STRICTER, "policy"),
        (CONFIG.replace("Example GmbH", "Example AG"), "organisation"),
        (CONFIG + "[retention]\nhits_days = 30\n", "retention"),
    ],
    ids=["policy", "organisation", "retention"],
)
def test_what_is_taken_up(path: Path, text: str, section: str) -> None:
    """Policy, organisation and retention are taken up, with the time of the change; nothing else waits."""
    before = begun(path)
    after = renewed(before, text)
    assert getattr(load(path), section) == getattr(after.config, section) != getattr(before.config, section)
    assert after.since > before.since
    assert () == after.waiting


def test_what_needs_a_restart_is_named(path: Path) -> None:
    """Listeners, upstreams, ledger and web stay as they were, and are named; the rest of the same change counts."""
    before = begun(path)
    text = STRICTER.replace("127.0.0.1:1587", "127.0.0.1:1588").replace("http://127.0.0.1:8080", "http://localhost:80")
    after = renewed(before, text + '[ledger]\nurl = "sqlite:///other.db"\n[system_mail]\nfrom = "a@example.org"\n'
                                   'url = "smtps://mail.example.org"\n')  # fmt: skip
    assert ("ledger.url", "relay.listener", "system_mail", "web.public_url") == after.waiting
    assert (before.config.relay, before.config.web, before.config.ledger) == (
        after.config.relay, after.config.web, after.config.ledger,
    )  # fmt: skip
    assert "never" == after.config.policy.open


def test_nobody_is_asked_before_letters_leave(path: Path) -> None:
    """Asking that is switched on together with system mail waits for it: a yes counts by a letter only."""
    before = begun(path)
    text = STRICTER.replace("[policy]", '[policy]\nask = "footer"')
    text += '[system_mail]\nfrom = "a@example.org"\nurl = "smtps://mail.example.org"\n'
    after = renewed(before, text)

    assert ("policy.ask", "system_mail") == after.waiting
    assert ("never", "never") == (after.config.policy.ask, after.config.policy.open)
    assert "footer" == begun(path).config.policy.ask


def test_a_change_that_changes_nothing(path: Path) -> None:
    """With a comment more the same policy is in force, since the same time and by the same author."""
    before = begun(path)
    after = renewed(before, "# as before\n" + CONFIG)
    assert (before.config, before.since, before.author) == (after.config, after.since, after.author)


def test_a_broken_file_is_not_taken_up(path: Path) -> None:
    """A file with an error is refused with its key path, whatever section the error is in."""
    before = begun(path)
    with pytest.raises(ConfigError, match=r"^relay\.receivd: is not a known key"):
        renewed(before, CONFIG.replace("[web]", "[relay]\nreceivd = true\n[web]"))


def test_workers_read_what_the_parent_wrote(path: Path, tmp_path: Path) -> None:
    """A worker that starts later goes by the same as the parent, whatever the file says by now."""
    place = tmp_path / "in-force.json"
    after = renewed(begun(path), STRICTER.replace("127.0.0.1:1587", "127.0.0.1:1588"))
    after.write(place)
    path.write_text("broken")
    read = InForce.read(place)
    assert (after.config, after.policy_version, after.author, after.since, after.stale) == (
        read.config, read.policy_version, read.author, read.since, read.stale,
    )  # fmt: skip
    assert 0o600 == place.stat().st_mode & 0o777


def test_a_running_worker_needs_no_file_of_the_past(path: Path, tmp_path: Path) -> None:
    """What the file named at the beginning may be gone meanwhile: a worker still takes up what is new."""
    place, certificate, key = tmp_path / "in-force.json", tmp_path / "old.pem", tmp_path / "key.pem"
    tls = 'address = "127.0.0.1:1587"\ntls = "starttls"\ncertificate = "{}"\nkey = "key.pem"'
    certificate.touch()
    key.touch()
    path.write_text(CONFIG.replace('address = "127.0.0.1:1587"', tls.format("old.pem")))
    before = begun(path)
    certificate.rename(tmp_path / "new.pem")
    after = renewed(before, STRICTER.replace('address = "127.0.0.1:1587"', tls.format("new.pem")))
    after.write(place)
    assert after.config == before.read_again(place).config
    with pytest.raises(ConfigError, match=r"old\.pem"):
        InForce.read(place)
