"""What following the jobs costs the platform, counted in simulated time."""

from itertools import product

from exporter.discovery.pages import MAX_PAGE_SIZE
from exporter.simulator.scenarios import Scenario
from tests.benchmarks.figures import Figure, Section, at_most, plain
from tests.benchmarks.simulated import Daemon, make_platform, simulate

ONE_HOST = (1, 1)
SHORT = (Scenario(rate=1.0, hosts=ONE_HOST, run=3.0),)
# Seven in ten take seconds, two a minute, one ten minutes.
MIX = (
    Scenario(rate=0.7, hosts=ONE_HOST, run=5.0),
    Scenario(rate=0.2, hosts=ONE_HOST, run=60.0, timeout=600),
    Scenario(rate=0.1, hosts=ONE_HOST, run=600.0, timeout=3600),
)
QUIET = (Scenario(rate=0.0, hosts=ONE_HOST),)
HOUR = 3600.0
ARRIVING = 1000.0  # seconds at a job a second
HISTORY = 3000  # finished records on an idle platform


def measure() -> Section:
    """Count requests and records while nothing happens, and while 1,000 records arrive."""
    figures = _idle()
    for name, jobs in (("jobs of seconds", SHORT), ("a mix up to ten minutes", MIX)):
        figures += _arrivals(name, jobs)
    return Section(
        title="Cost to the platform, counted",
        method="Simulated time, the real poller and ledger, polls each 15 s, re-check each 300 s at first. "
        "1,000 records of one host arrive at 1 a second; the worst of both orders and dialects is shown.",
        figures=tuple(figures),
        reasons=(
            (
                "idle: tail pages",
                (
                    "The newest page is read once in each interval, and the sweep reads pages beside that. "
                    "Fewer pages lost records whose arrival no total showed."
                ),
            ),
            (
                "first half hour",
                (
                    "A page of the first reading can reach below its gap; what it shows there is not taken "
                    "off what is missing once the gap goes deeper. The rest is then sought below the floor, "
                    "where every record is new, down to the oldest."
                ),
            ),
            (
                "a mix up to ten minutes: look-ups /record",
                (
                    "A job of ten minutes is looked at each 15 s for two and a half minutes, then after a "
                    "tenth of its age: that is rule 4, about 25 look-ups, and it is one job in ten here."
                ),
            ),
        ),
    )


def _idle() -> list[Figure]:
    platform = make_platform(QUIET, history=HISTORY)
    simulate(platform, seconds=HOUR / 2)
    first = platform.asked.page_records
    platform = make_platform(QUIET, history=HISTORY)
    daemon = simulate(platform, seconds=HOUR, settle_in=HOUR)
    interval = daemon.config.recheck_interval
    rechecks = platform.tail_pages
    polls = HOUR / 2 / daemon.config.rules.interval
    return [
        at_most(
            "first half hour, nothing open: records in tail pages",
            first - polls,
            daemon.config.adopt + (HOUR / 2 / interval + 1) * MAX_PAGE_SIZE,
        ),
        at_most(
            "idle: requests a poll, re-checks apart", (platform.asked.total - rechecks) / daemon.polls, 1.0
        ),
        at_most("idle: tail pages a re-check interval", rechecks / (HOUR / interval), 1.0),
        plain(
            "idle: records a re-check reads", f"{_read(platform.asked.page_records, daemon, rechecks):.3g}"
        ),
    ]


def _read(records: int, daemon: Daemon, rechecks: int) -> float:
    """Records in a tail page, without the one that each poll's first question brings."""
    return (records - daemon.polls) / max(1, rechecks)


def _arrivals(name: str, jobs: tuple[Scenario, ...]) -> list[Figure]:
    pages, records, results = 0.0, 0.0, 0.0
    for dialect, order in product(("observed", "documented"), ("asc", "desc")):
        platform = make_platform(jobs, dialect=dialect, order=order)
        daemon = simulate(platform, seconds=ARRIVING, drain=True)
        counted = len(daemon.ledger.counted)
        if counted != len(platform.world):
            raise RuntimeError(f"{counted} records counted of {len(platform.world)}")
        asked = platform.asked
        pages = max(pages, (asked.page_records - daemon.polls) / counted)
        records = max(records, asked.requests["record"] / counted)
        results = max(results, asked.requests["result"] / counted)
    return [
        at_most(f"{name}: records in tail pages per new record", pages, 2.0),
        at_most(f"{name}: look-ups /record per record", records, 3.0),
        at_most(f"{name}: look-ups /result per record", results, 1.2),
    ]
