"""What Prometheus says that counters grew by in each hour, beside the simulator's truth."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from exporter.simulator.truth import RecordTruth, idc_outcomes
from exporter.simulator.world import World

HOUR = 3600.0
PATIENCE = 60.0  # seconds for a query: it takes one on an idle machine
# Samples lie on whole minutes: a millisecond more than an hour holds that of each edge, and what lies between
# is told as it is. Of a plain hour Prometheus 3 leaves the left edge out, and extrapolates from the rest.
BOTH_EDGES = "1h1ms"
Key = tuple[str, ...]  # values of labels
Hours = Mapping[float, Counter[Key]]  # end of an hour → label set → what it grew by
Told = Mapping[float, Mapping[Key, float]]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A counter, the labels that tell its series apart, and what one record moves there."""

    name: str
    labels: tuple[str, ...]
    moves: Callable[[RecordTruth], Counter[Key]]


def _hosts(fact: RecordTruth) -> Counter[Key]:
    return Counter((host.idc, host.status) for host in fact.hosts)


def _outcomes(fact: RecordTruth) -> Counter[Key]:
    return Counter(idc_outcomes(fact.hosts).items())


def _seconds(fact: RecordTruth) -> Counter[Key]:
    return Counter({(fact.result,): fact.duration or 0})


def _timed(fact: RecordTruth) -> Counter[Key]:
    return Counter({(fact.result,): fact.duration is not None})


COUNTED = (
    Counted(name="job_host_results_total", labels=("idc", "status"), moves=_hosts),
    Counted(name="job_idc_records_total", labels=("idc", "outcome"), moves=_outcomes),
    Counted(
        name="job_records_finished_total",
        labels=("result_status", "provider", "script_type"),
        moves=lambda fact: Counter([(fact.result, fact.provider, fact.script_type)]),
    ),
    Counted(name="job_record_duration_seconds_sum", labels=("result_status",), moves=_seconds),
    Counted(name="job_record_duration_seconds_count", labels=("result_status",), moves=_timed),
    Counted(name="job_record_hosts_sum", labels=(), moves=lambda fact: Counter({(): len(fact.hosts)})),
    Counted(name="job_record_hosts_count", labels=(), moves=lambda _: Counter({(): 1})),
)


def moment(world: World, fact: RecordTruth) -> float:
    """When a record ended for who reads its times: at its end, but not before its start."""
    record = world.record(fact.id)
    return max(time for time in (record.start, record.end) if time is not None)


def truth(world: World, counted: Counted, ends: Sequence[float], *, seconds: float = HOUR) -> Hours:
    """What a counter grew by in the `seconds` up to each of `ends` (ascending), by all that pages show."""
    found: dict[float, Counter[Key]] = {end: Counter() for end in ends}
    for fact in world.truth().values():
        ended = moment(world, fact)
        place = bisect_left(ends, ended)
        if fact.visible and place < len(ends) and ended > ends[place] - seconds:
            found[ends[place]] += counted.moves(fact)
    return found


def told(server: str, counted: Counted, ends: Sequence[float], *, over: str) -> Told:
    """What `increase()` over a range (such as `1h`) says at each of `ends`, an hour apart; no zeros."""
    answer = httpx.get(
        f"http://{server}/api/v1/query_range",
        params={
            "query": f"increase({counted.name}[{over}])",
            "start": ends[0],
            "end": ends[-1],
            "step": HOUR,
        },
        trust_env=False,
        timeout=PATIENCE,
    )
    found: dict[float, dict[Key, float]] = {end: {} for end in ends}
    for series in answer.raise_for_status().json()["data"]["result"]:
        key = tuple(series["metric"].get(label, "") for label in counted.labels)
        for at, value in series["values"]:
            if float(value):
                assert key not in found[at], (key, series["metric"])
                found[at][key] = float(value)
    return found


def whole(said: Told, *, within: Mapping[float, float]) -> Hours:
    """The same in whole numbers; `within`: by what share an hour may differ from them, if not a millionth."""
    for end, values in said.items():
        for key, value in values.items():
            assert math.isclose(value, round(value), rel_tol=within.get(end, 1e-6)), (end, key, value)
    return {end: Counter({key: round(value) for key, value in of.items()}) for end, of in said.items()}
