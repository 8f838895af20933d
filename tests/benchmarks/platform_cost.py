"""What the platform pays for an exporter, beside what it pays for a naive poller, in simulated time."""

import math
from datetime import UTC

from exporter.jobapi import decoder
from exporter.model import ExecuteStatus
from exporter.simulator.scenarios import Scenario
from tests.benchmarks import tariff
from tests.benchmarks.figures import Figure, Section, at_least, at_most, plain
from tests.benchmarks.simulated import Asked, SimulatedPlatform, make_platform, simulate

NEWEST = 20  # records that the naive poller reads each time
INTERVAL = 15.0
HOUR = 3600.0
HISTORY = 3000  # records there; they are priced as if they were 300,000
ONE_HOST = (1, 1)
WARM_UP = 300.0  # simulated seconds; the first reading of a start is no part of an hour's cost
LIFE = {
    # name → jobs a second, simulated seconds
    "idle": (0.0, HOUR),
    "1 job/s": (1.0, 1200.0),
    "50 jobs/s": (50.0, 300.0),
}


class Naive:
    """Reads the newest records each interval, looks each up, and asks for the results of the finished."""

    def __init__(self, platform: SimulatedPlatform, *, pages: int = 1) -> None:
        self._platform, self._pages = platform, pages
        self.counted: set[str] = set()

    def run(self, seconds: float) -> None:
        """Poll for so long."""
        end = self._platform.clock.now + seconds
        while self._platform.clock.now < end:
            began = self._platform.clock.now
            self._poll()
            self._platform.clock.now = max(began + INTERVAL, self._platform.clock.now)

    def _poll(self) -> None:
        total = self._page(1, 1)[1]
        last = max(1, math.ceil(total / NEWEST))
        for number in range(max(1, last + 1 - self._pages), last + 1):
            self._look_up(self._page(number, NEWEST)[0])

    def _look_up(self, ids: list[str]) -> None:
        for record_id in ids:
            record = decoder.decode_record(
                self._platform.answer("record", tariff.LOOK, id=record_id), zone=UTC
            )
            if record.execute_status is ExecuteStatus.DONE:
                self._platform.answer("result", tariff.LOOK, id=record_id)
                self.counted.add(record_id)

    def _page(self, number: int, size: int) -> tuple[list[str], int]:
        seconds = tariff.page_seconds(number, size, len(self._platform.world))
        body = self._platform.answer("page", seconds, pageNo=str(number), pageSize=str(size))
        page = decoder.decode_page(body, number=number, size=size, zone=UTC)
        return [item.id for item in page.items], page.total or 0


def measure() -> Section:
    """Run both on equal platforms."""
    figures: list[Figure] = []
    for name in LIFE:
        figures += _compared(name)
    return Section(
        title="Cost to the platform, beside a naive poller",
        method="Simulated time, polls each 15 s. Naive: page 1 for the total, the last page of 20, a "
        "look-up for each of its records, the results of each finished one. Requests are priced as "
        "measured on a platform of 300,000 records, oldest first (`tariff.py`).",
        figures=tuple(figures),
        notes=(
            (
                "The naive poller asks for no more than 42 things each time, however many jobs there are, "
                "and misses those that pass between two polls: compare requests per counted record."
            ),
            (
                "The exporter looks at each record it counts: once if it had ended when its page was read, "
                "whose rows are its results; else twice or more, and it asks for the results. The naive "
                "poller's requests are few because it looks at no more than 20 records, however many came. "
                "Fewer are possible by leaving records out, or where pages hold whole records, as documented "
                "ones may."
            ),
            "At 50 jobs/s both are far behind: the exporter is held back by api.duty (see Freshness).",
        ),
        reasons=(
            (
                "idle: times less",
                (
                    "Pages cost 2.6 s and more here. The newest one is read each five minutes, and the sweep "
                    "takes up to a hundredth of the time: fewer lost records. The aim is older than both."
                ),
            ),
            (
                "1 job/s: requests an hour",
                "Each record is asked for until done, and once for its results; the naive one misses many.",
            ),
            (
                "50 jobs/s: requests an hour",
                "Each counted record takes two cheap look-ups by id; the naive one counts none.",
            ),
        ),
    )


def _compared(name: str) -> list[Figure]:
    rate, seconds = LIFE[name]
    jobs = (Scenario(rate=rate, hosts=ONE_HOST, run=5.0),)
    ours = make_platform(jobs, history=HISTORY, priced=True)
    daemon = simulate(ours, seconds=seconds, settle_in=WARM_UP if rate else HOUR)
    theirs = make_platform(jobs, history=HISTORY, priced=True)
    naive = Naive(theirs)
    naive.run(seconds)
    hours = seconds / HOUR
    figures = [
        plain(f"{name}: platform seconds an hour, naive", f"{theirs.asked.seconds / hours:,.0f}"),
        plain(f"{name}: platform seconds an hour, exporter", f"{ours.asked.seconds / hours:,.0f}"),
        plain(f"{name}: MB an hour, naive, exporter", _megabytes(theirs.asked, ours.asked, hours)),
    ]
    requests = [asked.total / hours for asked in (theirs.asked, ours.asked)]
    if not rate:
        less = theirs.asked.seconds / ours.asked.seconds
        return [*figures, at_least(f"{name}: times less platform time", less, 30.0), _fewer(name, requests)]
    new = len(theirs.world.truth().keys() & naive.counted)
    ended = sum(fact.finished > daemon.began for fact in ours.world.truth().values())
    shares = [new / max(1, len(theirs.world) - HISTORY), len(daemon.ledger.counted) / ended]
    per_record = [requests[0] * hours / max(1, new), requests[1] * hours / len(daemon.ledger.counted)]
    return [
        *figures,
        _fewer(name, requests),
        at_most(f"{name}: requests per counted record (aim: the naive one's)", per_record[1], per_record[0]),
        plain(f"{name}: finished records counted, naive, exporter", f"{shares[0]:.0%}, {shares[1]:.0%}"),
        *_wider(name, jobs, seconds, requests[1]),
    ]


def _wider(name: str, jobs: tuple[Scenario, ...], seconds: float, ours: float) -> list[Figure]:
    """Compare with a naive poller that reads twice as much, so that it misses less."""
    platform = make_platform(jobs, history=HISTORY, priced=True)
    naive = Naive(platform, pages=2)
    naive.run(seconds)
    new = len(platform.world.truth().keys() & naive.counted)
    share = new / max(1, len(platform.world) - HISTORY)
    return [
        at_most(
            f"{name}: requests an hour (limit: a naive one's that reads two pages of {NEWEST})",
            ours,
            platform.asked.total / seconds * HOUR,
        ),
        plain(f"{name}: finished records counted by that one", f"{share:.0%}"),
    ]


def _fewer(name: str, requests: list[float]) -> Figure:
    return at_most(f"{name}: requests an hour (aim: the naive one's)", requests[1], requests[0])


def _megabytes(theirs: Asked, ours: Asked, hours: float) -> str:
    return ", ".join(f"{asked.body_bytes / hours / 1e6:,.1f}" for asked in (theirs, ours))
