"""What goes on for long in a worker: it goes by the file as it is now, not as it was at the beginning."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from aboveboard import post, upkeep
from aboveboard.config import load
from aboveboard.post import Sender
from aboveboard.reload import Current, InForce, Taken
from aboveboard.settings import Config
from aboveboard.worker import Follower
from ledger import outbox
from ledger.ledger import Ledger
from ledger.outbox import Letter
from tests.e2e.serving import CONFIG
from tests.proxy.sending import until
from tests.relaying import open_ledger
from tests.upstream import FakeUpstream

MAIL = '[system_mail]\nfrom = "box@example.org"\nurl = "{upstream}"\n'


def configured(folder: Path, name: str, upstream: int = 25) -> Config:
    """Return a configuration whose organisation has a name."""
    path = folder / "aboveboard.toml"
    text = (CONFIG + MAIL).format(smtp=1587, web=8080, metrics=9108, upstream=f"smtp://127.0.0.1:{upstream}")
    path.write_text(text.replace("Example GmbH", name))
    return load(path)


class Enough(BaseException):
    """Ends what would go on for ever, whatever happens in it."""


async def test_upkeep_goes_by_what_is_in_force_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is done every hour sees the file as it is when its hour comes."""
    before, after = configured(tmp_path, "Before GmbH"), configured(tmp_path, "After GmbH")
    current, seen = Current(before), list[str]()

    async def task(config: Config, ledger: Ledger) -> dict[str, int]:
        seen.append(config.organisation.name)
        current.config = after
        if len(seen) == 2:
            raise Enough
        return {}

    monkeypatch.setattr(upkeep, "HOUR_SECONDS", 0.0)
    monkeypatch.setattr(upkeep, "_HOURLY", {"task": task})
    monkeypatch.setattr(upkeep, "_DAILY", {})
    async with open_ledger(tmp_path) as ledger:
        with pytest.raises(Enough):
            await upkeep.keep_up(current, ledger)

    assert ["Before GmbH", "After GmbH"] == seen


async def test_no_task_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that fails, in whatever way, is logged and tried again; the others are done all the same."""
    done = list[int]()

    async def failing(config: Config, ledger: Ledger) -> dict[str, int]:
        raise RuntimeError("can't start new thread")

    async def counting(config: Config, ledger: Ledger) -> dict[str, int]:
        done.append(1)
        if len(done) == 2:
            raise Enough
        return {}

    monkeypatch.setattr(upkeep, "HOUR_SECONDS", 0.0)
    monkeypatch.setattr(upkeep, "_HOURLY", {"failing": failing, "counting": counting})
    monkeypatch.setattr(upkeep, "_DAILY", {})
    async with open_ledger(tmp_path) as ledger:
        with pytest.raises(Enough), structlog.testing.capture_logs() as logged:
            await upkeep.keep_up(Current(configured(tmp_path, "Example GmbH")), ledger)
    assert [("upkeep.failed", "failing")] * 2 == [(one["event"], one["task"]) for one in logged]


async def test_letters_name_the_organisation_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter that is sent after a change of the file is from the organisation's new name."""
    monkeypatch.setattr(post, "LOOK_SECONDS", 0.0)
    async with FakeUpstream() as upstream, open_ledger(tmp_path) as ledger:
        configurations = iter([configured(tmp_path, name, upstream.port) for name in ("Before GmbH", "After GmbH")])
        before = configured(tmp_path, "Before GmbH", upstream.port)
        assert before.system_mail is not None
        begun_with = post.sender_of(before, before.system_mail)

        def sender() -> Sender:
            config = next(configurations, None)
            if config is None:
                raise Enough
            return post.same_sender(begun_with, config)

        for recipient in ("bob@customer.test", "carol@customer.test"):
            letter = Letter("you", recipient, values={"url": "https://track.test/you/x"})
            await ledger.job(lambda connection, one=letter: outbox.put(connection, ledger.keyring, one, _now()))
            if not upstream.messages:
                await post.send_all(ledger, sender())
        with pytest.raises(Enough):
            await post.deliver(ledger, sender)

    assert [True, False] == [b"Before GmbH" in one for one in upstream.messages]
    assert b"After GmbH" in upstream.messages[1]


async def test_a_worker_takes_up_what_the_parent_puts_in_force(tmp_path: Path) -> None:
    """What goes on for long in a worker sees a new file as soon as the worker has taken it up."""
    place, path = tmp_path / "in-force", tmp_path / "aboveboard.toml"
    configured(tmp_path, "Before GmbH")
    in_force = InForce.begin(path, Taken(path.read_text(), "root", _now()))
    in_force.write(place)
    current = Current(in_force.config)

    async def adopt(fresh: InForce) -> None:
        """There is nothing else to change."""

    async with open_ledger(tmp_path) as ledger, Follower(place, ledger, current, adopt).following(in_force):
        configured(tmp_path, "After GmbH")
        in_force.renewed(Taken(path.read_text(), "root", _now())).write(place)
        await until(lambda: current.config.organisation.name != "Before GmbH", 30)

    assert "After GmbH" == current.config.organisation.name


async def test_a_worker_says_reloaded_only_when_something_else_is_in_force(tmp_path: Path) -> None:
    """A file that is wrong is handed to the worker as stale, and its log does not call that a reload."""
    place, path = tmp_path / "in-force", tmp_path / "aboveboard.toml"
    configured(tmp_path, "Before GmbH")
    in_force = InForce.begin(path, Taken(path.read_text(), "root", _now()))
    in_force.write(place)
    adopted: list[InForce] = []

    async def adopt(fresh: InForce) -> None:
        adopted.append(fresh)

    with structlog.testing.capture_logs() as logged:
        async with (
            open_ledger(tmp_path) as ledger,
            Follower(place, ledger, Current(in_force.config), adopt).following(in_force),
        ):
            replace(in_force, stale=True).write(place)
            await until(lambda: len(adopted) == 1, 30)
            configured(tmp_path, "After GmbH")
            in_force.renewed(Taken(path.read_text(), "root", _now())).write(place)
            await until(lambda: [one["event"] for one in logged] != [], 30)

    assert [True, False] == [one.stale for one in adopted]
    assert ["worker.reloaded"] == [one["event"] for one in logged]


def _now() -> datetime:
    return datetime.now(UTC)


async def test_an_anchor_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    """A day whose anchor the disk did not take is tried again, and has one anchor once it does."""
    config, file = configured(tmp_path, "Example GmbH"), tmp_path / "away" / "anchors"
    place = config.consent.model_copy(update={"anchor": str(file)})
    config = config.model_copy(update={"consent": place})
    async with open_ledger(tmp_path) as ledger:
        with pytest.raises(OSError, match="No such file"):
            await upkeep.anchor(config, ledger)
        file.parent.mkdir()
        assert [{"anchors": 1}, {"anchors": 0}] == [await upkeep.anchor(config, ledger) for _ in range(2)]
    assert 1 == len(file.read_text().splitlines())
