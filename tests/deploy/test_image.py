"""The image: there is no engine to build it with, so its steps are held against the checkout one by one."""

import json
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.harness.deploy import ROOT, run, tool

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Give the Dockerfile as (INSTRUCTION, rest) in order, continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name, rest) for name, rest in pairs]


def values(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def copied() -> list[str]:
    """Give every source that is copied from the checkout."""
    words = (rest.split() for rest in values("COPY") if not rest.startswith("--from"))
    return [source for parts in words for source in parts[:-1]]


def ignored(path: str) -> bool:
    """Say whether .dockerignore keeps `path` out: the last pattern that matches it or a parent decides."""
    verdict = False
    parents = ["/".join(path.split("/")[: depth + 1]) for depth in range(path.count("/") + 1)]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        pattern = pattern.replace(r"\[", "[").replace(r"\]", "]")
        if any(re.fullmatch(pattern, parent) for parent in parents):
            verdict = not line.startswith("!")
    return verdict


def test_hadolint_has_nothing_to_say() -> None:
    """The linter of Dockerfiles finds nothing, and no rule is switched off."""
    result = run(tool("hadolint"), "--no-fail", "--format", "json", "Dockerfile")
    assert json.loads(result.stdout) == []
    assert "hadolint ignore" not in (ROOT / "Dockerfile").read_text()


def test_every_copied_file_reaches_the_build() -> None:
    """What is copied exists, and .dockerignore lets all of it that git knows through."""
    assert copied()
    for source in copied():
        tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", source).stdout.split()
        assert tracked, source
        assert [path for path in tracked if ignored(path)] == []


@pytest.mark.parametrize(
    "path",
    [".git/config", ".venv/bin/python", "job-exporter.db", "deploy/password", ".env", "tests/x.py",
     "exporter/__pycache__/model.cpython-313.pyc", "exporter/simulator/__pycache__/world.pyc"],
)  # fmt: skip
def test_the_build_gets_nothing_else(path: str) -> None:
    """Ledgers, secrets, the checkout's own machinery and bytecode stay out of the build."""
    assert ignored(path)


def test_the_wheel_has_all_that_its_build_reads() -> None:
    """The files that pyproject.toml names for the build are copied before the wheel is made."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    version = project["tool"]["hatch"]["version"]["path"]
    readme = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["fragments"][0]["path"]
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", readme, *project["project"]["license-files"]}
    needed |= {version.split("/")[0], *wheel["packages"], *wheel["force-include"]}
    assert needed <= set(copied())


def test_dependencies_are_locked_and_come_before_the_source() -> None:
    """The layer of dependencies is made by hashes, and does not depend on the source."""
    steps = instructions()
    locked = next(i for i, (_, rest) in enumerate(steps) if "--require-hashes" in rest)
    source = next(
        i for i, (name, rest) in enumerate(steps) if name == "COPY" and rest.startswith("exporter ")
    )
    assert "-r requirements.lock" in steps[locked][1]
    assert locked < source
    lock, dev_lock = ((ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock"))
    assert len(re.findall(r"^\S+==", lock, re.MULTILINE)) <= lock.count("--hash=sha256:")
    assert re.search(r"^hatchling==\S+ \\\n\s+--hash=sha256:", dev_lock, re.MULTILINE)


def test_the_result_runs_without_root_and_without_build_tools() -> None:
    """The last stage runs as a number, takes only the finished environment, and its tag is not latest."""
    assert values("USER") == ["65532:65532"]
    last = instructions()[[name for name, _ in instructions()].index("FROM", 3) :]
    assert [rest for name, rest in last if name == "COPY"] == [
        "--from=build /opt/job-exporter /opt/job-exporter"
    ]
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-[a-z]+", values("ARG")[0])


def test_the_default_ledger_lies_on_the_volume() -> None:
    """The default of state.url, read in the working directory, is a file on the declared volume."""
    assert values("VOLUME") == ["/var/lib/job-exporter"]
    assert values("WORKDIR")[-1] == "/var/lib/job-exporter"
    assert not [rest for rest in values("ENV") if "JOB_EXPORTER_" in rest]


def test_the_image_starts_the_daemon() -> None:
    """The entry point is the program of pyproject.toml, its default command `run`, stopped by SIGTERM."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (entry,) = json.loads(values("ENTRYPOINT")[0])
    assert entry in scripts
    assert json.loads(values("CMD")[-1]) == ["run"]
    assert values("STOPSIGNAL") == ["SIGTERM"]
    assert values("EXPOSE") == ["16868"]


def healthcheck(listen: str) -> subprocess.CompletedProcess[str]:
    """Run the image's health check as the engine would, with a proxy in the way."""
    command = json.loads(values("HEALTHCHECK")[0].split("CMD", 1)[1])
    assert command[0] == "python"
    environment = {"JOB_EXPORTER_WEB__LISTEN_ADDRESS": listen, "http_proxy": "http://127.0.0.1:1"}
    return run(tool("python"), *command[1:], env=environment)


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """Serve `status` to every GET on a free port of loopback; gives the port and the paths asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, paths
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("listen", "status", "healthy"),
    [
        (":{}", 200, True),
        ('["127.0.0.1:{}"]', 200, True),
        ("[::]:{}", 401, True),
        (":{}", 503, False),
        (":{}", 404, False),
    ],
)
def test_the_health_check_asks_the_configured_port(listen: str, status: int, healthy: bool) -> None:
    """It asks /-/healthy on the port of the listen address, in each spelling of it, past any proxy."""
    with answering(status) as (port, paths):
        result = healthcheck(listen.format(port))
    assert paths == ["/-/healthy"]
    assert (result.returncode == 0) is healthy


def test_the_health_check_fails_where_nothing_listens() -> None:
    """A dead process is unhealthy."""
    with answering(200) as (port, _):
        pass
    assert healthcheck(f":{port}").returncode == 1


def test_the_health_check_needs_no_program_that_slim_lacks() -> None:
    """No stage installs Debian packages, and nothing calls curl or wget."""
    text = "\n".join(f"{name} {rest}" for name, rest in instructions())
    assert not re.search(r"\b(curl|wget|apt-get)\b", text)
