"""From a record's end to its being in what a scrape shows, in simulated time."""

from exporter.simulator.scenarios import Scenario
from tests.benchmarks.figures import Figure, Section, at_least, plain
from tests.benchmarks.measuring import percentile
from tests.benchmarks.simulated import RULES, make_platform, simulate

ONE_HOST = (1, 1)
PAGE = 0.02  # seconds of a page on a platform of some thousands of records
CHEAP, DEAR = "pages of 20 ms", "pages as of 300,000 records"
RUNS = ((1.0, 1800.0), (50.0, 300.0))  # jobs a second, simulated seconds
WARM_UP = 600.0  # simulated seconds before: the first reading of a start is over by then


def measure() -> Section:
    """Run at both rates, on a platform with cheap pages and on one of 300,000 records."""
    figures: list[Figure] = []
    for rate, seconds in RUNS:
        figures += _fresh(rate, seconds, deep=False)
        figures += _fresh(rate, seconds, deep=True)
    return Section(
        title="Freshness",
        method=f"Simulated time, polls each {RULES.interval:g} s, jobs of 5 s (median). From the end of a "
        "record to the commit that publishes it; our own CPU time (about a second a poll at 50 "
        "jobs/s) and the hold of newborn series are not in it. What is not counted at the end is "
        "taken as late as it is old. The first reading after a start is over before.",
        figures=tuple(figures),
        notes=(
            (
                f"At 1 jobs/s, {DEAR}, a page costs 1.5 s and more, so that api.duty allows one in 15 s or a "
                "little later, and one in 25 s after a re-check: this is what p99 is above the interval."
            ),
        ),
        reasons=(
            (
                f"50 jobs/s, {DEAR}",
                (
                    "A tail page of 50 is priced at 2.6 s, and tail pages may take a tenth of the time: 50 "
                    "records in 26 s, 1.9 jobs/s, can be found (some more here, where pages of older "
                    "records, which have waited longest, are cheaper). Above that the backlog grows; "
                    "api.duty is what limits it, by intent."
                ),
            ),
        ),
    )


def _fresh(rate: float, seconds: float, *, deep: bool) -> list[Figure]:
    platform = make_platform((Scenario(rate=rate, hosts=ONE_HOST, run=5.0),), history=1000, priced=True)
    if not deep:
        platform.page_price = PAGE
    daemon = simulate(platform, seconds=seconds, settle_in=WARM_UP if rate < 10 else WARM_UP / 5)
    counted, end = daemon.ledger.counted, platform.clock.now
    ended = {
        key: fact.finished for key, fact in platform.world.truth().items() if fact.finished > daemon.began
    }
    # What is not counted yet is at least as late as it is old.
    lags = [counted.get(key, end) - finished for key, finished in ended.items()]
    early = [key for key, finished in ended.items() if finished < end - 2 * RULES.interval]
    unread = sum(gap.due < end - RULES.interval for gap in daemon.ledger.state.tail.gaps)
    share = sum(key in counted for key in early) / len(early)
    name = f"{rate:g} jobs/s, {DEAR if deep else CHEAP}"
    return [
        *(plain(f"{name}: p{rank}", _shown(percentile(lags, rank))) for rank in (50, 99)),
        plain(f"{name}: gaps due and unread at the end", str(unread)),
        at_least(f"{name}: counted of what ended two intervals ago or more", share, 0.99),
    ]


def _shown(lag: float) -> str:
    return f"{lag:.3g} s = {lag / RULES.interval:.2g} intervals"
