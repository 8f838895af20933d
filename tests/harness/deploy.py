"""What the tests of deploy/ share: where things lie, the tools they are checked with, and their YAML."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def tool(name: str) -> str:
    """Where the program `name` is: in .venv, in .tools (`make tools`), or installed.

    Without it the test fails where CI is set, and is skipped with a word on a person's machine.
    """
    own = [ROOT / ".venv" / "bin" / name, *sorted((ROOT / ".tools").glob(f"*/bin/{name}"))]
    found = next((str(path) for path in own if path.is_file()), None) or shutil.which(name)
    if found is None:
        message = f"{name} is not here: it comes by `make tools`, `.ci/chart` or as a Debian package"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return found


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program in the root of the checkout and give its texts; a failure is the caller's to judge."""
    return subprocess.run(
        command,
        cwd=options.pop("cwd", ROOT),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def documents(path: Path) -> list[dict[str, Any]]:
    """Every YAML document of a file, the empty ones left out."""
    return [item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item]


def nested(value: Any, key: str) -> Iterator[Any]:
    """Every value under `key`, at any depth."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for item in value.values():
            yield from nested(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from nested(item, key)
