"""The container's files are kept honest without a Docker engine: their own lines are run in folders instead."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aboveboard.config import load
from tests.docker.standin import Stage, build, parse, sent_to_the_engine
from tests.e2e.serving import fetch
from tests.e2e.waiting import free_port, says_hello, until
from tests.peers import require

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILE = (PROJECT / "docker/Dockerfile").read_text("utf-8")
COMPOSE = (PROJECT / "docker/compose.yaml").read_text("utf-8")
EXAMPLE = PROJECT / "docker/aboveboard.toml"


def said(word: str) -> str:
    """Return what the last stage says with an instruction that it has once."""
    instructions = parse(DOCKERFILE)
    last = max(at for at, one in enumerate(instructions) if one.word == "FROM")
    (found,) = [one.rest for one in instructions[last:] if one.word == word]
    return found


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[Stage]:
    """The stages, built by the Dockerfile's own lines from what .dockerignore lets through."""
    if os.geteuid() != 0:
        require("the Dockerfile's lines make a folder somebody else's, which only root can")
    folder = tmp_path_factory.mktemp("docker")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--dest", folder / "try"]
    if subprocess.run([*pip, "click"], check=False, capture_output=True).returncode != 0:
        require("pip reaches no package index")
    return build(DOCKERFILE, sent_to_the_engine(PROJECT, folder / "context"), folder)


@pytest.fixture(scope="module")
def image(stages: list[Stage]) -> Stage:
    """The last stage: what becomes the image."""
    return stages[-1]


@pytest.fixture
def container(image: Stage) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, int]]]:
    """The command that the image ends in, run with the example configuration, and the ports that stand for its own."""
    ports = {"1587": free_port(), "8080": free_port()}
    text = EXAMPLE.read_text("utf-8").replace("0.0.0.0", "127.0.0.1")
    for inside, outside in ports.items():
        text = text.replace(f":{inside}", f":{outside}")
    # Nobody is asked for a mail server that is not there.
    text = text.replace("smtp+starttls://mail.example.org:587", f"smtp://127.0.0.1:{free_port()}")
    data = image.place("/data")
    (data / "aboveboard.toml").write_text(text, "utf-8")
    process = subprocess.Popen(image.command(), cwd=data, env=image.process_environment(), stdin=subprocess.DEVNULL)
    yield process, ports
    if process.poll() is None:
        process.kill()
    process.wait()
    for file in data.iterdir():
        file.unlink()


def test_the_image_serves(image: Stage, container: tuple[subprocess.Popen[bytes], dict[str, int]]) -> None:
    """What the image runs greets on the relay's port, is healthy by its own check, and keeps its data in the volume."""
    process, ports = container

    def healthy() -> bool:
        assert process.poll() is None
        words = json.loads(said("HEALTHCHECK").partition(" CMD ")[2].replace("8080", str(ports["8080"])))
        done = subprocess.run(words, env=image.process_environment(), capture_output=True, check=False)
        return done.returncode == 0

    until(healthy, "the health check is content", 60)
    # The health is the web's: its worker may be ready before the relay's.
    until(lambda: says_hello(ports["1587"]), "the relay greets")
    web = f"http://127.0.0.1:{ports['8080']}"
    assert [200, 200] == [fetch(f"{web}{page}").status for page in ("/how", "/static/style.css")]
    process.terminate()
    assert process.wait(60) == 0
    assert {"aboveboard.toml", "aboveboard.db", "aboveboard.key"} <= {
        file.name for file in image.place("/data").iterdir()
    }


def test_the_image_holds_the_pinned_versions_and_no_more(image: Stage) -> None:
    """What is installed is what constraints.txt says, with the PostgreSQL driver, and nothing of tests and tools."""
    listed = subprocess.run([image.python / "bin/pip", "list", "--format", "json"], capture_output=True, check=True)
    installed = {one["name"].lower().replace("_", "-"): one["version"] for one in json.loads(listed.stdout)}
    lines = (PROJECT / "constraints.txt").read_text("utf-8").lower().replace("_", "-").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    of_the_base = {"pip", "setuptools", "wheel"}
    assert {"aboveboard": installed["aboveboard"]} == {
        name: version for name, version in installed.items() if name not in of_the_base and pinned.get(name) != version
    }
    assert "psycopg" in installed
    assert not {"pytest", "mypy", "ruff", "playwright"} & set(installed)


def test_nothing_of_the_build_stays_in_the_image(image: Stage) -> None:
    """The last stage holds the data's folder and nothing else below its root: no wheels, no source."""
    assert ["data"] == [one.name for one in image.root.iterdir()]


def test_the_image_does_not_run_as_root(image: Stage) -> None:
    """The user is a number other than root's and owns the folder of the data, which nobody else may enter."""
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", image.user)
    status = image.place("/data").stat()
    assert (f"{status.st_uid}:{status.st_gid}", 0o700) == (image.user, status.st_mode & 0o777)


def test_the_context_holds_no_secret(tmp_path: Path) -> None:
    """Nothing but the packages and what they are built from is sent to the engine: no keys, no history, no ledger."""
    context = sent_to_the_engine(PROJECT, tmp_path / "context")
    packages = {"aboveboard", "ledger", "policies", "proxy", "web"}
    assert {one.name for one in context.iterdir()} == packages | {
        "pyproject.toml", "constraints.txt", "README.md", "LICENSE"
    }  # fmt: skip
    assert [*context.rglob("__pycache__")] == []


def test_every_base_is_pinned() -> None:
    """Both stages stand on the same base, pinned to Python's minor version and Debian's name."""
    bases = [one.rest.split()[0] for one in parse(DOCKERFILE) if one.word == "FROM"]
    assert bases == ["python:3.11-slim-bookworm"] * 2


def test_the_example_configuration_loads() -> None:
    """The example is right as it stands, and keeps ledger and key in the folder of the file: in the volume."""
    config = load(EXAMPLE)
    assert config.ledger.url == f"sqlite:///{EXAMPLE.parent / 'aboveboard.db'}"
    assert config.ledger.key_file == EXAMPLE.parent / "aboveboard.key"


def test_compose_example_and_image_agree() -> None:
    """The command, the ports and the volume of compose.yaml are those of the image and of the example."""
    config = load(EXAMPLE)
    ports = [config.relay.listener[0].address.rpartition(":")[2], config.web.address.rpartition(":")[2]]
    assert said("EXPOSE").split() == ports
    assert re.findall(r'^ +- "127\.0\.0\.1:(\d+):(\d+)"$', COMPOSE, re.M) == [(port, port) for port in ports]
    assert f"127.0.0.1:{ports[1]}/health" in said("HEALTHCHECK")
    (command,) = re.findall(r"^ +command: (\[.*\])$", COMPOSE, re.M)
    assert json.loads(command) == json.loads(said("CMD")) == ["serve", "--config", "/data/aboveboard.toml"]
    assert re.findall(r"^ +- data:(\S+)$", COMPOSE, re.M) == [said("VOLUME")] == [said("WORKDIR")]
    assert re.findall(r"^ +- \./(\S+):(\S+):ro$", COMPOSE, re.M) == [(EXAMPLE.name, f"/data/{EXAMPLE.name}")]
