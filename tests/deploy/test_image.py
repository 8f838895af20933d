"""The Dockerfile against the checkout. `.ci/image` builds it and runs the image."""

import json
import re
import shlex
import tomllib

import pytest

from exporter.cli.healthcheck import TIMEOUT
from exporter.cli.main import COMMANDS
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


def pip_installs() -> list[list[str]]:
    """Give the arguments of every `pip install` of the Dockerfile."""
    commands = [shlex.split(part) for rest in values("RUN") for part in rest.split("&&")]
    return [words[words.index("install") + 1 :] for words in commands if {"pip", "install"} <= set(words)]


def test_every_pip_install_resolves() -> None:
    """Pip takes the flags and the lock of each line, and the lock is whole and has a version of everything.

    Resolved without an index: the environment of the tests has what the locks name.
    """
    locked = [words for words in pip_installs() if "--no-deps" not in words]
    assert len(locked) == 2
    for words in locked:
        assert {"--require-hashes", "-r"} <= set(words)
        result = run(tool("python"), "-m", "pip", "install", "--dry-run", "--no-index", *words)
        assert (result.returncode, "Would install" in result.stdout) == (0, False), result.stderr
        assert "Requirement already satisfied" in result.stdout


def test_the_build_backend_is_the_locked_one() -> None:
    """What pyproject.toml needs for a build is what the lock of the build backend is made from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["build-system"]["requires"] == project["dependency-groups"]["build"]
    assert ["-r", "requirements-build.lock"] in [words[-2:] for words in pip_installs()]


def test_the_result_runs_without_root_and_without_build_tools() -> None:
    """The last stage runs as a number, takes only the finished environment, and its tag is not latest."""
    assert values("USER") == ["65532:65532"]
    steps = instructions()
    last = steps[max(place for place, (name, _) in enumerate(steps) if name == "FROM") :]
    assert [rest for name, rest in last if name == "COPY"] == [
        "--from=dependencies /opt/job-exporter /opt/job-exporter",
        "--from=package /package/opt/job-exporter /opt/job-exporter",
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


def test_the_health_check_is_a_command_of_the_program() -> None:
    """The engine's health check is our own command, and its deadline is later than the command's own."""
    options, _, command = values("HEALTHCHECK")[0].partition("CMD")
    entry, name = json.loads(command)
    assert [entry] == json.loads(values("ENTRYPOINT")[0])
    assert name in COMMANDS
    assert float(re.findall(r"--timeout=(\d+)s", options)[0]) > TIMEOUT


def test_the_health_check_needs_no_program_that_slim_lacks() -> None:
    """No stage installs Debian packages, and nothing calls curl or wget."""
    text = "\n".join(f"{name} {rest}" for name, rest in instructions())
    assert not re.search(r"\b(curl|wget|apt-get)\b", text)
