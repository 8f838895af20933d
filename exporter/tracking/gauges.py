"""The gauges of the platform, from the state of the ledger. PURE."""

from collections.abc import Mapping

from exporter.discovery.tail import Tail
from exporter.model import Clock, Series
from exporter.tracking.counting import is_future
from exporter.tracking.lookups import is_overdue
from exporter.tracking.state import State
from exporter.tracking.values import Rules, Stage


def platform_gauges(
    state: State, tail: Tail, *, clock: Clock, skew: float | None, rules: Rules
) -> Mapping[Series, float]:
    """The gauges that disappear while the platform is unreachable."""
    # A record that was not looked up yet counts as running.
    open_ = {"init": 0, "doing": 0}
    oldest: dict[str, float] = {}
    overdue, hidden = 0, tail.invisible
    for item in state.followed.values():
        if item.stage is Stage.DONE or item.baseline_end is not None:
            continue
        status = "init" if item.stage is Stage.INIT else "doing"
        open_[status] += 1
        overdue += is_overdue(item, clock=clock, rules=rules)
        if item.start is not None and not is_future(item.start, clock.platform):
            oldest[status] = min(oldest.get(status, item.start), item.start)
    done = max(0, (tail.total or 0) - sum(open_.values()) - hidden)
    gauges = {Series("job_records_overdue"): float(overdue), Series("job_records_hidden"): float(hidden)}
    for status, number in {**open_, "done": done}.items():
        gauges[Series("job_records", (("execute_status", status),))] = float(number)
    for status, start in oldest.items():
        name = "job_record_oldest_open_start_timestamp_seconds"
        gauges[Series(name, (("execute_status", status),))] = start
    if skew is not None:
        gauges[Series("job_exporter_clock_skew_seconds")] = skew
    return {**gauges, **state.latest}
