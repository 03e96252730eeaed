"""The key file and the keys in use."""

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger import keys
from ledger.errors import LedgerError
from ledger.keys import KeyFile, Keyring

KEY = base64.b64encode(bytes(32)).decode()
GOOD: dict[str, Any] = {"format": 1, "lookup": KEY, "tokens": [{"id": 1, "key": KEY}], "sealing": 1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A key file, freshly made."""
    made = tmp_path / "aboveboard.key"
    KeyFile.new().write(made)
    return made


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have key files looked at again every time, not once a second."""
    monkeypatch.setattr(keys, "_RELOAD_SECONDS", 0.0)


def rotate(path: Path, steps: int = 2) -> None:
    """Rotate a key file as `aboveboard key rotate` does."""
    for _ in range(steps):
        KeyFile.read(path).rotated().write(path)


def test_file_comes_back_as_written(path: Path) -> None:
    """What is written is read."""
    written = KeyFile.new().rotated()
    written.write(path)

    assert written == KeyFile.read(path)


def test_file_is_for_its_owner_only(path: Path) -> None:
    """Nobody but its owner may read a new key file."""
    assert 0o600 == path.stat().st_mode & 0o777


def test_file_is_for_its_owner_only_beside_a_leftover(path: Path) -> None:
    """A half-written file that others may read does not hand its rights on."""
    leftover = path.with_name(path.name + ".new")
    leftover.write_text("{")
    leftover.chmod(0o666)
    rotate(path, 1)

    assert 0o600 == path.stat().st_mode & 0o777
    assert not leftover.exists()


def test_file_outlives_a_power_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content and name of a key file are on disk before anything relies on it, the content first."""
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    rotate(path, 1)

    assert [f"{path}.new", str(path.parent)] == synced


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="binary"),
        pytest.param(json.dumps(GOOD).encode()[:-9], id="half"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'"text"', id="text"),
        pytest.param(json.dumps(GOOD | {"format": 2}).encode(), id="later format"),
        pytest.param(json.dumps({**GOOD, "lookup": None}).encode(), id="no look-up key"),
        pytest.param(json.dumps(GOOD | {"lookup": KEY[4:]}).encode(), id="short look-up key"),
        pytest.param(json.dumps(GOOD | {"lookup": "?" + KEY[1:]}).encode(), id="not base64"),
        pytest.param(json.dumps(GOOD | {"tokens": []}).encode(), id="no token key"),
        pytest.param(json.dumps(GOOD | {"tokens": [{"id": 1, "key": ""}]}).encode(), id="empty token key"),
        pytest.param(json.dumps(GOOD | {"sealing": 2}).encode(), id="unknown sealing key"),
        pytest.param(json.dumps(GOOD | {"sealing": float("inf")}).encode(), id="infinite id"),
        pytest.param(json.dumps(GOOD | {"tokens": [{"id": 256, "key": KEY}], "sealing": 256}).encode(), id="wide id"),
        pytest.param(json.dumps(GOOD | {"tokens": [{"id": -1, "key": KEY}], "sealing": -1}).encode(), id="negative id"),
        pytest.param(json.dumps(GOOD | {"tokens": [*GOOD["tokens"], {"id": 0, "key": KEY}]}).encode(), id="id zero"),
        pytest.param(json.dumps(GOOD | {"lookup": f"{KEY}\n"}).encode(), id="more than base64"),
    ],
)
def test_anything_else_is_not_a_key_file(path: Path, content: bytes) -> None:
    """A file that is not a whole key file is named in one sentence, without its content."""
    path.write_bytes(content)

    with pytest.raises(LedgerError) as caught:
        Keyring.load(path)

    assert str(path) in str(caught.value)
    assert KEY not in str(caught.value)


def test_missing_file_is_named() -> None:
    """Without a key file the sentence says which one."""
    with pytest.raises(LedgerError, match=r"/nowhere/aboveboard\.key is missing"):
        Keyring.load(Path("/nowhere/aboveboard.key"))


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Where there is something else in its place the sentence says why, and not that the keys were damaged."""
    with pytest.raises(LedgerError, match=r"cannot be read: Is a directory\."):
        Keyring.load(tmp_path)


def test_file_that_cannot_be_written_is_named() -> None:
    """Where the key file cannot be written the sentence says which one and why."""
    with pytest.raises(LedgerError, match=r"/nowhere/aboveboard.key cannot be written: No such file or directory\."):
        KeyFile.new().write(Path("/nowhere/aboveboard.key"))


def test_read_only_file_will_do(path: Path) -> None:
    """A key file mounted read-only serves."""
    path.chmod(0o400)

    assert Keyring.load(path).exact("a@example.org") == Keyring.load(path).exact("a@example.org")


def test_keys_do_not_show() -> None:
    """No key gets into a log by way of a traceback or a debugger's print."""
    file = KeyFile.new()
    shown = repr(file) + repr(Keyring(file))

    assert repr(file.lookup)[2:12] not in shown
    assert repr(file.tokens[1])[2:12] not in shown


def test_first_step_of_a_rotation_makes_a_key_known() -> None:
    """After the first step every process can read the new key, and none uses it."""
    before = KeyFile.new()
    after = before.rotated()

    assert (1, 2, None) == (after.sealing, after.pending, before.pending)
    assert before.tokens[1] == after.tokens[1]


def test_second_step_of_a_rotation_uses_it() -> None:
    """After the second step the new key is used, and the old one is kept for reading."""
    first = KeyFile.new().rotated()
    second = first.rotated()

    assert (2, None) == (second.sealing, second.pending)
    assert first.tokens == second.tokens


def test_rotation_never_touches_the_lookup_key(path: Path) -> None:
    """Refusals are found after any number of rotations: hashes, fingerprint, chain and columns stay."""

    def lasting(keyring: Keyring) -> tuple[str, ...]:
        return (keyring.exact("Max@x.org"), keyring.folded("Max@x.org"), keyring.fingerprint, keyring.chained(b"row"))

    before = Keyring.load(path)
    sealed = before.seal_column(b"content", "message/1")
    rotate(path, 6)
    after = Keyring.load(path)

    assert lasting(before) == lasting(after)
    assert b"content" == after.open_column(sealed, "message/1")


def test_rotations_at_once_are_taken_one_after_the_other(path: Path) -> None:
    """However many rotate at the same moment, each takes a step of its own, and no key is lost or made twice."""
    KeyFile.new().write(path)
    with ThreadPoolExecutor(8) as pool:
        steps = list(pool.map(keys.rotate, [path] * 16))
    assert sorted([key for key in range(2, 10) for _ in range(2)]) == sorted(max(one.tokens) for one in steps)
    found = KeyFile.read(path)
    assert (9, None, list(range(1, 10))) == (found.sealing, found.pending, sorted(found.tokens))
    assert all(one.tokens.items() <= found.tokens.items() for one in steps)


def test_no_more_keys_than_a_token_can_name() -> None:
    """A rotation that would need a 256th key is refused with a sentence."""
    full = KeyFile(bytes(32), {key_id: bytes(32) for key_id in range(1, 256)}, 255)

    with pytest.raises(LedgerError, match="255 token keys"):
        full.rotated()


def test_old_token_opens_after_two_rotations(path: Path) -> None:
    """W5: a link in a message sent years ago still opens."""
    token = Keyring.load(path).seal_token(b"content", "click")
    rotate(path, 4)

    assert b"content" == Keyring.load(path).open_token(token, "click")


def test_removed_key_opens_nothing(path: Path) -> None:
    """A token of a key that is gone is nobody's, and nothing is raised."""
    token = Keyring.load(path).seal_token(b"content", "click")
    rotate(path)
    file = KeyFile.read(path)
    KeyFile(file.lookup, {2: file.tokens[2]}, 2).write(path)

    assert None is Keyring.load(path).open_token(token, "click")


def test_running_keyring_forgets_a_removed_key(path: Path, at_once: None) -> None:
    """A key that is taken out of the file is out of use in running processes too."""
    running = Keyring.load(path)
    token = running.seal_token(b"content", "click")
    rotate(path)
    file = KeyFile.read(path)
    KeyFile(file.lookup, {2: file.tokens[2]}, 2).write(path)
    running.seal_token(b"other", "click")

    assert None is running.open_token(token, "click")


def test_running_keyring_takes_up_a_rotated_key(path: Path, at_once: None) -> None:
    """A running process opens tokens of a key that was made after it started, and then seals with it."""
    running = Keyring.load(path)
    rotate(path)
    token = Keyring.load(path).seal_token(b"content", "open")

    assert b"content" == running.open_token(token, "open")
    assert 2 == running.seal_token(b"content", "open")[0]


_SECOND_PROCESS = """
import sys
from pathlib import Path
from ledger.keys import Keyring

keyring = Keyring.load(Path(sys.argv[1]))
print("ready", flush=True)
opened = keyring.open_token(bytes.fromhex(sys.stdin.readline()), "open")
print(opened.decode() if opened is not None else "nothing", flush=True)
"""


def test_second_process_takes_up_a_rotated_key(path: Path) -> None:
    """A process that knew only the old key opens what another one sealed with the new key."""
    command = [sys.executable, "-c", _SECOND_PROCESS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        rotate(path)
        answer, _ = process.communicate(Keyring.load(path).seal_token(b"content", "open").hex() + "\n", timeout=20)

    assert "content\n" == answer


def other_lookup(path: Path) -> None:
    replace(KeyFile.read(path), lookup=secrets.token_bytes(32)).rotated().write(path)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize("harm", [Path.unlink, half, other_lookup], ids=["missing", "half", "other look-up key"])
def test_running_keyring_keeps_its_keys(path: Path, at_once: None, harm: Callable[[Path], Any]) -> None:
    """A key file that goes wrong under a running process changes nothing for it: its links go on working."""
    running = Keyring.load(path)
    token = running.seal_token(b"content", "open")
    address = running.exact("a@example.org")
    harm(path)

    assert 1 == running.seal_token(b"content", "open")[0]
    assert b"content" == running.open_token(token, "open")
    assert address == running.exact("a@example.org")


def test_hashes_are_of_the_canonical_address() -> None:
    """Grants are looked up by the address as written, refusals by its folded form; the domain's case never counts."""
    keyring = Keyring(KeyFile.new())

    assert keyring.exact("Max@example.org") == keyring.exact("Max@EXAMPLE.org.")
    assert keyring.exact("Max@example.org") != keyring.exact("max@example.org")
    assert keyring.folded("Max@example.org") == keyring.folded("max@example.org")
    assert keyring.folded("max@example.org") != keyring.exact("max@example.org")


def test_hashes_need_the_key() -> None:
    """Whoever has not this look-up key cannot find an address."""
    assert Keyring(KeyFile.new()).folded("a@example.org") != Keyring(KeyFile.new()).folded("a@example.org")


@pytest.mark.parametrize("code", [0, 0xD800, 0xDCFF, 0x1F600], ids=hex)
def test_every_text_has_a_hash(code: int) -> None:
    """No address, however broken, stops a look-up."""
    address = f"{chr(code)}@example.org"

    assert 64 == len(Keyring.throwaway().exact(address))
    assert 64 == len(Keyring.throwaway().folded(address))


def test_column_opens_only_in_its_place() -> None:
    """A sealed value that is moved to another row does not open."""
    keyring = Keyring(KeyFile.new())
    sealed = keyring.seal_column(b"content", "message/1")

    assert b"content" == keyring.open_column(sealed, "message/1")
    with pytest.raises(LedgerError, match="does not open"):
        keyring.open_column(sealed, "message/2")


@pytest.mark.parametrize("sealed", [b"", bytes(11), bytes(12), bytes(60)], ids=len)
def test_damaged_column_does_not_open(sealed: bytes) -> None:
    """A sealed value that is not whole is one clear error."""
    with pytest.raises(LedgerError, match="does not open"):
        Keyring(KeyFile.new()).open_column(sealed, "message/1")
