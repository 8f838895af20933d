"""Where the programs of Prometheus 2 and 3 are, as `make tools` lays them."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MAJORS = (2, 3)  # the rules promise to work on both


def program(name: str, major: int = 3) -> Path:
    """Give the path of `prometheus`, `promtool`, `alertmanager` or `amtool` of that major version.

    Where it is missing the test fails if CI is set; on a person's machine it is left out, saying what to run.
    """
    path = ROOT / ".tools" / f"prometheus-{major}" / "bin" / name
    if not path.is_file():
        message = f"{name} of Prometheus {major} is not here: run `make tools`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
