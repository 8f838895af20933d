"""The publisher shows the newest snapshot in a thread, and reports failures."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from exporter.metrics.collector import BLOCK
from exporter.metrics.exposition import Exposition
from exporter.metrics.publisher import BURST, MOST_PAUSES, RENDER_SHARE, Pauses, Publisher
from exporter.model import Sample, Series, Snapshot
from tests.harness.metrics import A_FAIL, counters, host, line, show
from tests.harness.web import until

BAD = Snapshot(counters={Series("job_record_hosts", (), "many"): Sample(value=1, born=1)})


class SlowExposition(Exposition):
    """Renders when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.seen: list[Snapshot] = []

    def show(self, snapshot: Snapshot, *, pause: Callable[[], None] = lambda: None) -> None:
        self.begun.release()
        assert self.may_go_on.acquire(timeout=30)
        self.seen.append(snapshot)
        super().show(snapshot, pause=pause)


async def until_shown(publisher: Publisher) -> None:
    await until(lambda: publisher.shown == publisher.published)


async def test_a_scrape_does_not_wait_for_rendering() -> None:
    """While a snapshot is rendered, scrapes get the last one; publishing waits for nothing either."""
    exposition = SlowExposition()
    publisher = Publisher(exposition)
    publisher.start()
    for snapshot in (counters(host("a")), counters(host("a"), value=2.0)):
        before = show(exposition)
        publisher.publish(snapshot)
        assert await asyncio.to_thread(exposition.begun.acquire, timeout=30)
        assert show(exposition) == before
        exposition.may_go_on.release()
        await until_shown(publisher)
    assert line(show(exposition), A_FAIL) == "2.0"
    publisher.stop()


async def test_snapshots_that_come_while_one_is_rendered_replace_each_other() -> None:
    """Of the snapshots published during a rendering, only the newest is rendered."""
    exposition = SlowExposition()
    publisher = Publisher(exposition)
    publisher.start()
    snapshots = [counters(host("a"), value=float(number)) for number in range(5)]
    publisher.publish(snapshots[0])
    assert await asyncio.to_thread(exposition.begun.acquire, timeout=30)
    for snapshot in snapshots[1:]:
        publisher.publish(snapshot)
    for _ in range(2):
        exposition.may_go_on.release()
    await until_shown(publisher)
    assert exposition.seen == [snapshots[0], snapshots[-1]]
    assert line(show(exposition), A_FAIL) == "4.0"
    publisher.stop()


async def test_a_failure_is_told_until_a_snapshot_is_shown() -> None:
    """A failed rendering is logged once, makes the exporter not ready, and does not end the publisher."""
    exposition = Exposition()
    publisher = Publisher(exposition)
    publisher.publish(counters(host("a")))
    await publisher.show()
    troubles = [publisher.trouble]
    with capture_logs() as logs:
        for _ in range(3):
            publisher.publish(BAD)
            await publisher.show()
            troubles.append(publisher.trouble)
            assert publisher.shown == 1
        assert line(show(exposition), A_FAIL) == "1.0"
        publisher.publish(counters(host("a"), value=2.0))
        await publisher.show()
    troubles.append(publisher.trouble)
    assert troubles == [None, *["the newest metrics could not be shown: ValueError"] * 3, None]
    assert publisher.shown == 5
    assert line(show(exposition), A_FAIL) == "2.0"
    assert [entry["log_level"] for entry in logs] == ["error", "info"]


async def test_a_failure_does_not_end_the_task() -> None:
    """After a snapshot that cannot be shown, the next one is shown."""
    exposition = Exposition()
    publisher = Publisher(exposition)
    publisher.start()
    publisher.publish(BAD)
    await until(lambda: publisher.trouble is not None)
    publisher.publish(counters(host("a")))
    await until_shown(publisher)
    assert line(show(exposition), A_FAIL) == "1.0"
    publisher.stop()


@pytest.mark.parametrize("started", [False, True])
async def test_a_stop_breaks_off_what_is_rendered(started: bool) -> None:
    """Nothing more is shown after a stop, whether the publisher was started or not."""
    exposition = Exposition()
    publisher = Publisher(exposition)
    if started:
        publisher.start()
    publisher.stop()
    publisher.publish(counters(host("a")))
    await publisher.show()
    assert show(exposition) == ""


def test_rendering_may_pause_after_each_block() -> None:
    """A snapshot of many series, new or changed, is rendered in many short steps."""
    pauses: list[None] = []
    exposition, many = Exposition(), [host(f"idc-{number:04}") for number in range(50 * BLOCK)]
    for value in (1.0, 2.0):
        exposition.show(counters(*many, value=value), pause=lambda: pauses.append(None))
        assert len(pauses) >= 50
        pauses.clear()


def test_a_rendering_thread_works_a_tenth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps nine times as long as it worked, but not after less than a burst; in all a few seconds."""
    cpu, slept, stopped = 0.0, [0.0], threading.Event()
    monkeypatch.setattr(time, "thread_time", lambda: cpu)
    monkeypatch.setattr(stopped, "wait", slept.append)
    pauses, step = Pauses(stopped), BURST / 4
    for _ in range(100):
        cpu += step
        pauses()
    assert sum(slept) == pytest.approx(cpu / RENDER_SHARE - cpu, rel=0.1)
    assert len(slept) - 1 == pytest.approx(25, abs=1)
    for _ in range(100_000):
        cpu += step
        pauses()
    assert sum(slept) == pytest.approx(MOST_PAUSES, abs=0.01)


async def test_a_stop_ends_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of hours, after so much work, does not hold up the end of the process."""
    monkeypatch.setattr("exporter.metrics.publisher.RENDER_SHARE", 1e-9)
    exposition = Exposition()
    publisher = Publisher(exposition)
    publisher.start()
    publisher.publish(counters(*(host(f"idc-{number:05}") for number in range(20 * BLOCK))))
    await until(lambda: any(thread.name.startswith("asyncio_") for thread in threading.enumerate()))
    await asyncio.sleep(0.2)  # until it pauses; a stop before that is in time, too
    publisher.stop()
    async with asyncio.timeout(30):
        await asyncio.get_running_loop().shutdown_default_executor()
    assert show(exposition) == ""
