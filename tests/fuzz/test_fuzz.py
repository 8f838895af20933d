"""The fuzzing of the decoders: it runs, it would notice, and what it found once stays mended."""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exporter.jobapi.errors import NotUnderstoodError
from tests.fuzz.examine import DECODERS, FoundError, examine
from tests.fuzz.mutating import Mutator

FOUND = Path(__file__).with_name("found")
MILLION = 1_000_000


def forgets_overflow(body: bytes, zone: Any) -> Any:
    """A decoder that fails on a time in the year 9999."""
    if b"9999-12-31" in body:
        raise OverflowError
    return DECODERS[1](body, zone)


def quotes(body: bytes, zone: Any) -> Any:
    """A decoder whose errors quote the body."""
    try:
        return DECODERS[0](body, zone)
    except NotUnderstoodError:
        raise NotUnderstoodError(body[:300].decode("latin-1")) from None


def counts_bytes(body: bytes, zone: Any) -> Any:
    """A decoder whose answer depends on the text that the filter drops."""
    value = DECODERS[2](body, zone)
    assert len(body) % 7
    return value


@pytest.mark.parametrize("broken", [forgets_overflow, quotes, counts_bytes])
def test_a_planted_bug_is_found(broken: Callable[[bytes, Any], Any]) -> None:
    """Some thousand bodies are enough to find each planted bug."""
    mutator = Mutator(seed=1)
    bodies = [mutator.make() for _ in range(5_000)]
    with pytest.raises((FoundError, OverflowError, AssertionError)):
        list(map(partial(examine, decoders=(broken,)), bodies))


def test_some_thousand_bodies_bring_nothing_to_light() -> None:
    """The same bodies each time, and those that found a bug before; `make soak` runs a million."""
    mutator = Mutator(seed=2)
    bodies = [path.read_bytes() for path in FOUND.glob("*")]
    for body in (*bodies, *(mutator.make() for _ in range(3_000))):
        examine(body)


@pytest.mark.soak
def test_a_million_bodies_bring_nothing_to_light() -> None:
    """A million bodies, guided by coverage if atheris is installed; the fuzzer counts them itself."""
    command = [sys.executable, "-m", "tests.fuzz", f"--inputs={MILLION}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    done = re.match(r"(\d+) inputs", ran.stdout)
    assert done
    assert int(done[1]) >= MILLION
