"""Random histories of a platform that misbehaves, judged by the rules of counting.

Each failure prints its seed and its story; `live(seed, folder)` runs one again. `make test` runs the first
group, `.ci/run` all of them, `make soak` thousands more.
"""

from pathlib import Path

import pytest

from tests.model.troubles import begin

STEPS = 12  # random things that happen in a history
HISTORIES = 200
GROUP = 5  # histories of one test: tests run beside each other
SOAK = range(100_000, 102_000)
TWO_DAYS = 2 * 86400.0


def live(seed: int, folder: Path, steps: int = STEPS) -> None:
    """Run one history to its judgement."""
    history = begin(seed, folder)
    try:
        history.run(steps)
    finally:
        history.close()


@pytest.mark.parametrize(
    "first",
    [pytest.param(first, marks=[pytest.mark.long] if first else []) for first in range(0, HISTORIES, GROUP)],
)
def test_counters_are_the_truth_after_a_random_history(first: int, tmp_path: Path) -> None:
    """Whatever happened, all that a page shows is counted once, and rightly, when it is over."""
    for seed in range(first, first + GROUP):
        live(seed, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(SOAK.start, SOAK.stop, 100))
def test_counters_are_the_truth_after_thousands_of_histories(first: int, tmp_path: Path) -> None:
    """The same for seeds that `make test` has no time for."""
    for seed in range(first, first + 100):
        live(seed, tmp_path)


@pytest.mark.long
def test_two_days_of_everything(tmp_path: Path) -> None:
    """Records of all kinds and all faults at random for two simulated days."""
    history = begin(4, tmp_path, everything=True)
    try:
        while history.clock.now < history.began + TWO_DAYS:
            history.run_steps(1)
        history.judge()
    finally:
        history.close()
