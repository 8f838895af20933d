"""What happens to a platform, its clocks, its network and the exporter in a history."""

from pathlib import Path

from tests.harness.inprocess import Blow
from tests.model.history import DAY, INTERVAL, History
from tests.model.platform import Job


def burst(history: History) -> None:
    """Many records between two polls."""
    count = history.rng.choice([20, 150])
    history.tell(f"{count} records at once")
    for _ in range(count):
        history.people.add(history.clock.now + history.rng.uniform(0, 5))
    history.last = max(history.last, history.clock.now)


def replace(history: History) -> None:
    """As many records go as come."""
    count = history.rng.choice([3, 30, 200])
    _remove(history, history.platform.there(history.clock.now)[:count], "the first in the order")
    for _ in range(count):
        history.people.add(history.clock.now - history.rng.uniform(0, 3))


def set_our_clock(history: History) -> None:
    """Set our clock to another time, in either direction."""
    by = history.rng.choice([-1, 1]) * history.rng.choice([200, 4000, 50 * 3600, 400 * DAY])
    history.tell(f"our clock is set by {by:+.0f} s")
    history.clock.set_ahead += by


def set_their_clock(history: History) -> None:
    """Set the platform's clock to another time, in either direction."""
    by = history.rng.choice([-1, 1]) * history.rng.choice([5, 200, 4000, 9 * 3600])
    history.tell(f"the platform's clock is set by {by:+.0f} s")
    history.platform.ahead += by


def exporter_is_down(history: History) -> None:
    """Nobody polls for a while; records come, some go."""
    seconds = history.rng.choice([20.0, 600.0, 7200.0, DAY, 2 * DAY])
    history.tell(f"the exporter is down for {seconds:.0f} s")
    history.windows.append((history.clock.now - 60, history.clock.now + seconds + 60))
    history.clock.now += seconds
    history.grow(history.clock.now)
    if history.rng.random() < 0.4:
        expire(history)
    history.daemon.restart()


def platform_is_down(history: History) -> None:
    """No request is answered."""
    seconds = history.rng.choice([60.0, 900.0, 5 * 3600.0, 2 * DAY])
    history.under("down", seconds, down=history.rng.choice(["connect", "500", "503", "database"]))


def fail_look_ups(history: History) -> None:
    """No look-up of a record is answered rightly."""
    history.under(
        "look-ups fail",
        history.rng.choice([40, 150, 1200]),
        lookups=history.rng.choice(["404", "500", "timeout"]),
    )


def fail_results(history: History) -> None:
    """No host rows are to be had."""
    history.under("results fail", history.rng.choice([20, 600, 2400]), results="500")


def drop_requests(history: History) -> None:
    """Some requests fail."""
    history.under("requests fail", 600, drops=history.rng.choice([0.02, 0.2, 0.6]))


def lie_about_totals(history: History) -> None:
    """Totals are false, once or for minutes."""
    kind = history.rng.choice(["absent", "zero", "few", "stale"])
    history.under(
        "false total", history.rng.choice([1, 40, 300]), total=kind, empty_pages=history.rng.random() < 0.5
    )


def lag(history: History) -> None:
    """Every second answer comes from a copy that is behind."""
    history.under("a copy lags", history.rng.choice([60, 900]), lagging=True)


def slow_pages(history: History) -> None:
    """Pages take long."""
    history.under("slow pages", 1200, page_seconds=history.rng.choice([1.5, 8.0, 25.0]))


def turn(history: History) -> None:
    """The order of pages turns."""
    history.platform.newest_first = not history.platform.newest_first
    history.tell(f"the order turns: newest_first={history.platform.newest_first}")


def blink(history: History) -> None:
    """Rows are gone for a moment, or some of them, when a poll looks."""
    now = history.clock.now
    for job in history.rng.choices(history.platform.there(now)[-20:] or [None], k=3):
        if job is not None:
            job.blinks.append((now + INTERVAL - 1, now + INTERVAL + 1, history.rng.choice([0, 1])))
    history.poll()


def delete(history: History) -> None:
    """Records anywhere are deleted."""
    there = history.platform.there(history.clock.now)
    _remove(
        history, history.rng.sample(there, int(len(there) * history.rng.choice([0.02, 0.2, 0.7]))), "anywhere"
    )


def expire(history: History) -> None:
    """The oldest records are deleted."""
    there = sorted(history.platform.there(history.clock.now), key=lambda job: (job.start, job.id))
    _remove(history, there[: int(len(there) * history.rng.choice([0.1, 0.5, 0.95]))], "the oldest")


def _remove(history: History, jobs: list[Job], which: str) -> None:
    history.tell(f"{len(jobs)} records are deleted, {which}")
    for job in jobs:
        job.deleted = history.clock.now


def restart(history: History) -> None:
    """The exporter is started anew at once."""
    history.tell("restart")
    history.daemon.restart()


def kill(history: History) -> None:
    """The process is killed around a commit, or the commit fails."""
    blow, blow_in = history.rng.choice(list(Blow)), history.rng.randrange(4)
    history.tell(f"commit {blow_in}: {blow}")
    history.windows.append((history.clock.now - 60, history.clock.now + 60))
    history.poll(blow=blow, blow_in=blow_in)


TROUBLES = (
    set_our_clock, set_their_clock, exporter_is_down, platform_is_down, delete, expire, lie_about_totals,
    lag, turn, fail_look_ups, fail_results, restart, kill, slow_pages, burst, blink, drop_requests, replace,
)  # fmt: skip


def begin(seed: int, folder: Path, *, everything: bool = False) -> History:
    """Begin the history of a seed; close it in the end."""
    return History(seed, folder, TROUBLES, everything=everything)
