"""The locks and their audit: every package by its hash, and no finding passes for a note."""

import json
import re
import runpy
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^[A-Za-z0-9][\w.\[\],-]*==[^\s;]+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+$")

verdict: Callable[[int, str, str], tuple[int, str]] = runpy.run_path(str(ROOT / ".ci" / "audit"))["verdict"]

CLEAN = {"name": "good", "version": "1", "vulns": []}
MISSED = {
    "name": "missed",
    "skip_reason": "Dependency not found on PyPI and could not be audited: missed (1)",
}
FINDING = {
    "name": "aiohttp",
    "version": "3",
    "vulns": [
        {
            "id": "CVE-1",
            "fix_versions": ["4"],
            "aliases": [],
            "description": "a proxy's connection that timed out could not be audited: HTTPError",
        }
    ],
}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-fuzz.lock"])
def test_every_package_of_a_lock_is_pinned_by_hash(name: str) -> None:
    """Each entry is one version with hashes of its files, and nothing else is in the file."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    entries = re.split(r"\n(?! )", "\n".join(lines))
    assert len(entries) > 20 or name == "requirements-fuzz.lock"
    assert [entry for entry in entries if not PINNED.match(entry)] == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_the_extras_that_its_packages_ask_for(name: str) -> None:
    """Without them pip looks beyond the lock, and refuses what it finds there as soon as that is newer."""
    locked = {}
    for entry in re.findall(r"^([\w.-]+)(?:\[([\w,.-]+)\])?==", (ROOT / name).read_text(), re.MULTILINE):
        locked[canonicalize_name(entry[0])] = set(filter(None, entry[1].split(",")))
    asked = 0
    for package, extras in locked.items():
        with suppress(metadata.PackageNotFoundError):  # of another system
            for line in metadata.requires(package) or ():
                wanted = Requirement(line)
                given = [{"extra": extra} for extra in ("", *extras)]
                if wanted.marker is None or any(wanted.marker.evaluate(extra) for extra in given):
                    assert wanted.extras <= locked[canonicalize_name(wanted.name)], (package, line)
                    asked += bool(wanted.extras)
    assert asked or name == "requirements.lock"


def test_every_way_to_install_asks_for_hashes() -> None:
    """Make, image and CI install from the locks with --require-hashes, the program itself without more."""
    for name in ("Makefile", "Dockerfile", ".ci/run", ".ci/tools"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        for line in re.findall(r"^.*pip install.*$", text, re.MULTILINE):
            assert "--require-hashes" in line or "--no-deps" in line, (name, line)


@pytest.mark.parametrize(
    ("status", "packages", "failed", "said"),
    [
        (0, [CLEAN], False, "1 of 1 packages audited, 0 findings"),
        (1, [CLEAN, FINDING], True, "aiohttp 3: CVE-1, mended in 4"),
        (1, [FINDING, MISSED], True, "CVE-1"),
        (0, [FINDING], True, "CVE-1"),
        (1, [CLEAN, MISSED], False, "note: not audited: missed"),
        (0, [MISSED], False, "0 of 1 packages audited"),
        (1, [CLEAN], True, "0 findings"),
        (0, [], True, "0 of 0"),
    ],
)
def test_a_finding_fails_whatever_its_words(
    status: int, packages: list[dict[str, object]], failed: bool, said: str
) -> None:
    """The report decides: a description may tell of proxies, and packages may be missing beside it."""
    code, words = verdict(status, json.dumps({"dependencies": packages, "fixes": []}), "connection refused")
    assert (bool(code), said in words) == (failed, True), words


@pytest.mark.parametrize(
    ("status", "report", "errors", "failed"),
    [
        (1, "", "ERROR:pip_audit._cli:Could not connect: HTTPSConnectionPool: Max retries exceeded", False),
        (1, "", "requests.exceptions.ProxyError", False),
        (2, "", "pip-audit: error: unrecognized arguments: --formt", True),
        (1, "not JSON", "", True),
        (0, "", "connection", True),
        (1, "[]", "hash mismatch", True),
    ],
)
def test_without_a_report_only_the_network_is_a_note(
    status: int, report: str, errors: str, failed: bool
) -> None:
    """Data that cannot be reached is no finding; a tool that does not work is a failure."""
    assert bool(verdict(status, report, errors)[0]) is failed
