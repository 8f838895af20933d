"""What waits, waits by ledger time: crashes, downtimes, settings and clocks hide no first failure."""

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.jobapi.errors import HttpError
from exporter.metrics.exposition import Exposition
from exporter.metrics.families import layout
from exporter.model import Snapshot, backoff
from exporter.polling.status import FIRST_BACKOFF, MAX_BACKOFF
from exporter.settings import MetricsSettings
from tests.harness.core import Life, life
from tests.harness.inprocess import METRICS

HOUR, DAY = 3600.0, 86_400.0
FAILED = 'job_host_results_total{idc="杭州",status="fail"}'


class Prometheus:
    """Scrapes what a life exposes; `increase` is what it would compute over all samples of a series."""

    def __init__(self, its: Life) -> None:
        self.its, self.exposition = its, Exposition()
        self.samples: list[dict[str, float]] = []

    def restarted(self, config: MetricsSettings = METRICS) -> None:
        """Scrape a new process."""
        self.exposition = Exposition(config=config)

    def scrape(self) -> None:
        self.exposition.show(self.its.daemon.snapshot)
        text = self.exposition.scrape(accept="text/plain", accept_encoding="").body.decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if line[:1] != "#")
        self.samples.append({name: float(value) for name, _, value in lines})

    def increase(self, family: str) -> float:
        """Sum over all series: differences of neighbouring samples; a fall is a counter that began anew."""
        total = 0.0
        for before, after in zip(self.samples, self.samples[1:], strict=False):
            for name in {name for name in after if name.startswith(family)} & before.keys():
                rise = after[name] - before[name]
                total += rise if rise >= 0 else after[name]
        return total


def polled(its: Life, seen: Prometheus, times: int) -> None:
    for _ in range(times):
        its.poll()
        for _ in range(2):
            its.clock.now += 1
            its.daemon.release()
        seen.scrape()


def trouble(its: Life) -> str | None:
    """Why the exporter is not ready."""
    return its.daemon.poller.last_error


@pytest.mark.parametrize("away", [90.0, HOUR, DAY])
def test_a_kill_right_after_a_birth_hides_no_failure(away: float, tmp_path: Path) -> None:
    """Killed after the first failures of an IDC were counted: the next process shows 0 before it shows 8."""
    with life(tmp_path, past=10, daemon={"zero_hold": 60.0}) as its:
        seen = Prometheus(its)
        polled(its, seen, 6)
        for _ in range(8):
            its.end(its.add(), "fail")
        its.poll(2)
        assert its.finished == 8
        its.clock.now += away
        its.daemon.restart()
        seen.restarted()
        polled(its, seen, 8)
        assert seen.increase("job_host_results_total{") == 8


@pytest.mark.parametrize("jump", [-DAY, -HOUR, -90.0, 90.0, HOUR, DAY])
def test_a_clock_that_is_set_right_after_a_birth_hides_no_failure(jump: float, tmp_path: Path) -> None:
    """The hold counts time in which a series was exposed, whatever the wall clock shows."""
    with life(tmp_path, past=10, daemon={"zero_hold": 60.0}) as its:
        seen = Prometheus(its)
        polled(its, seen, 6)
        for _ in range(8):
            its.end(its.add(), "fail")
        its.poll(2)
        its.clock.set_ahead += jump
        its.api.clock_skew = -jump
        polled(its, seen, 8)
        assert seen.increase("job_host_results_total{") == 8


@pytest.mark.parametrize("hold", [0.0, 10.0, 1800.0])
def test_a_value_once_shown_stays_whatever_the_hold_becomes(hold: float, tmp_path: Path) -> None:
    """A restart with another zero-hold makes no counter fall."""
    with life(tmp_path, past=10, daemon={"zero_hold": 60.0}) as its:
        seen = Prometheus(its)
        polled(its, seen, 3)
        for _ in range(4):
            its.end(its.add(), "fail")
            polled(its, seen, 8)
        its.daemon.layout = layout(MetricsSettings(zero_hold=hold))
        its.daemon.restart()
        seen.restarted()
        for _ in range(3):
            its.end(its.add(), "fail")
            polled(its, seen, 4)
        for before, after in zip(seen.samples, seen.samples[1:], strict=False):
            fallen = [name for name in before if "_total" in name and "job_exporter" not in name]
            assert all(after.get(name, 0.0) >= before[name] for name in fallen)
        assert seen.increase("job_host_results_total{") == 7


def test_changed_record_labels_lose_no_increase(tmp_path: Path) -> None:
    """Records that end while the exporter is down for a change are an increase of the new series."""
    labels = (("provider",), (), ("provider", "script_type"), ("script_type",))
    with life(tmp_path, past=10, daemon={"zero_hold": 60.0}) as its:
        seen = Prometheus(its)
        polled(its, seen, 6)
        total = 0
        for changed in (None, *labels):
            if changed is not None:
                its.daemon.ledger.close()
                its.clock.now += 120
                for _ in range(8):
                    its.end(its.add(), "fail")
                total += 8
                metrics = METRICS.model_copy(update={"record_labels": changed})
                rules = replace(its.daemon.config.rules, record_labels=changed)
                its.daemon.config = replace(its.daemon.config, rules=rules)
                its.daemon.layout = layout(metrics)
                its.daemon.start()
                seen.restarted(metrics)
            for _ in range(10):
                its.end(its.add(), "fail")
                polled(its, seen, 1)
            total += 10
            polled(its, seen, 8)
        assert its.finished == total
        assert seen.increase("job_records_finished_total{") == total


def test_a_thousand_failed_polls_in_a_row_are_lived_through(tmp_path: Path) -> None:
    """Seventeen hours of failures: polls back off to a minute, and the next good one counts."""
    with life(tmp_path, past=10) as its:
        its.api.mood = lambda _asked: HttpError("HTTP 500", status=500)
        for _ in range(1_100):
            its.clock.now += 60
            its.poll()
        assert its.daemon.value("job_exporter_poll_failures_total") == 1_100
        its.api.mood = lambda _asked: None
        new = its.ran("fail")
        its.clock.now += MAX_BACKOFF
        its.poll(6)
        assert its.daemon.settled() == {new}
        assert trouble(its) is None


@pytest.mark.parametrize("failures", [1, 5, 6, 1_024, 10**9])
def test_no_wait_grows_without_bound(failures: int) -> None:
    """A wait doubles with each failure up to its longest, however many failures there were."""
    wait = backoff(failures, first=FIRST_BACKOFF, longest=MAX_BACKOFF)
    assert wait == min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 5))


def test_what_cannot_be_shown_is_not_ready_and_is_tried_again(tmp_path: Path) -> None:
    """Where publishing fails readiness says so, polls go on, and the next good one heals it."""
    with life(tmp_path, past=10) as its:
        taken = its.daemon.poller._status._show

        def refused(_snapshot: Snapshot) -> None:
            raise ValueError("not to be rendered")

        its.daemon.poller._status._show = refused
        its.poll()
        assert trouble(its) == "what the last poll found could not be shown: ValueError"
        its.daemon.poller._status._show = taken
        new = its.ran("fail")
        its.clock.now += MAX_BACKOFF
        its.poll(4)
        assert trouble(its) is None
        assert its.daemon.settled() == {new}
