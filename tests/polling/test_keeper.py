"""What a commit logs."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.model import Clock
from exporter.polling.keeper import ODD_TIMES, Keeper
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.values import Changes
from tests.harness.core import NOW


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with closing(Ledger(url, platform="http://platform.test", now=NOW, layout=Layout())) as opened:
        yield opened


@pytest.mark.parametrize(
    ("lookups", "warnings"),
    [
        ([["a"]] * (ODD_TIMES + 1), 0),  # one record, looked up again and again
        ([["a"], ["b"], ["a"]], 0),
        ([["a"], ["b"], ["c"]], 1),
        ([["a", "b", "c", "d"]], 1),
        ([["a", "b", "c"], ["d", "e", "f"]], 1),
    ],
    ids=str,
)
def test_several_records_with_impossible_times_are_warned_of_once(
    ledger: Ledger, lookups: list[list[str]], warnings: int
) -> None:
    async def commit_all() -> None:
        keeper = Keeper(ledger, retention=3600.0, clock=lambda: Clock(now=NOW, wall=NOW, platform=NOW))
        for ids in lookups:
            await keeper.commit(
                Changes(
                    tail=ledger.state.tail,
                    counting_start=CountingStart(baseline_end=NOW, floor=NOW),
                    hours_off=dict.fromkeys(ids, 8.0),
                )
            )

    with capture_logs() as logs:
        asyncio.run(commit_all())
    told = [line for line in logs if "api.timezone" in line["event"]]
    assert len(told) == warnings
