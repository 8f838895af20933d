"""What a scrape must show of a world, worked out a second time from the simulator's own facts."""

from collections import Counter
from collections.abc import Iterable, Mapping

from exporter.metrics.families import Origin, families
from exporter.settings import MetricsSettings
from exporter.simulator.truth import RecordTruth, idc_outcomes
from exporter.simulator.world import World
from tests.crash.harness import Key, LedgerRows, Scrape, key

# A scrape shows of these only what depends on when the exporter looked, beside their `_count`.
BY_THE_CLOCK = "job_exporter_count_lag_seconds"
# These tell how a record was found, or that it was not for a while: of which ones, the moments decide.
BY_CHANCE = {
    key("job_exporter_records_late_total"),
    key("job_exporter_records_incomplete_total", reason="hidden"),
    key("job_exporter_records_incomplete_total", reason="late_baseline"),
}
KNOWN = {"success", "fail", "failed", "error", "timeout", "cancel", "canceled", "cancelled"}
LEDGER_FAMILIES = tuple(f.name for f in families(MetricsSettings()) if f.origin is Origin.LEDGER)


def of_ledger(scrape: Scrape) -> dict[Key, float]:
    """The samples that go on after a restart."""
    suffixes = ("", "_bucket", "_sum", "_count")
    names = {name + suffix for name in LEDGER_FAMILIES for suffix in suffixes}
    return {sample: value for sample, value in scrape.items() if sample[0] in names}


def fallen(before: Mapping[Key, float], after: Mapping[Key, float]) -> list[str]:
    """The counters that went down, or away."""
    return [
        f"{name} {dict(labels)}: {value:g} → {after.get((name, labels))}"
        for (name, labels), value in before.items()
        if after.get((name, labels), -1.0) < value
    ]


def untruths(
    scrape: Scrape, rows: LedgerRows, world: World, *, during: set[str], before: set[str]
) -> list[str]:
    """What is not the truth: ids first, then samples.

    `before`: records that finished before the exporter was there, `during`: while it read for the first time.
    """
    visible = {id_ for id_, fact in world.truth().items() if fact.ever_visible}
    still_open = {id_ for id_ in world.open_ids() if world.record(id_).ever_visible}
    ids = wrong_ids(rows, world, must=visible - before - during, may=during, still_open=still_open)
    return ids or wrong_samples(scrape, world, set(rows.settled), still_open=len(still_open))


def wrong_ids(
    rows: LedgerRows, world: World, *, must: set[str], may: set[str], still_open: set[str]
) -> list[str]:
    """The records that were counted or followed but should not be, or the other way round.

    `must` are counted, `may` are counted or the baseline, nothing else is counted.
    """
    truth = world.truth()
    counted = set(rows.settled)
    found = [
        ("never counted", must - counted),
        ("counted, but neither finished nor ever shown", counted - must - may),
        ("the baseline, but finished later", set(rows.baseline) & must),
        ("vanished, but is there", set(rows.vanished)),
        ("open, but not followed", still_open - rows.followed),
        ("followed, but not open", set(rows.followed) - still_open),
    ]
    lines = [f"{what}: {sorted(ids)}" for what, ids in found if ids]
    for id_ in sorted(counted & set(truth)):
        result, end = rows.settled[id_]
        record = world.record(id_)
        said = (truth[id_].result, record.verdict[1] if record.verdict else None)
        if (result or "unknown", end) != said:
            lines.append(f"{id_}: counted as {(result, end)}, but it is {said}")
    return lines


def wrong_samples(scrape: Scrape, world: World, counted: set[str], *, still_open: int) -> list[str]:
    """The samples of the ledger's families, and of the platform's gauges, that are not the truth."""
    expected = expected_samples(scrape, world, counted, still_open=still_open)
    shown = of_ledger(scrape) | {
        sample: value for sample, value in scrape.items() if sample[0] == "job_records"
    }
    return [
        f"{name} {dict(labels)}: shown {shown.get((name, labels))}, true {expected.get((name, labels), 0)}"
        for name, labels in sorted(expected.keys() | shown.keys())
        if (name, labels) not in BY_CHANCE
        and not name.startswith((BY_THE_CLOCK + "_bucket", BY_THE_CLOCK + "_sum"))
        and shown.get((name, labels)) != expected.get((name, labels), 0)
    ]


def expected_samples(
    scrape: Scrape, world: World, counted: set[str], *, still_open: int
) -> Mapping[Key, float]:
    """What must be shown when exactly these records were counted; bucket bounds are the scrape's own."""
    truth = world.truth()
    facts = [truth[id_] for id_ in counted]
    made = Counter[Key]()
    for fact in facts:
        made.update(_of_record(fact, world))
    bounds = _bounds(scrape)
    for family, labels, values in _observations(facts):
        made[key(family + "_count", **labels)] += len(values)
        made[key(family + "_sum", **labels)] += sum(values)
        for bound in bounds[family]:
            bucket = key(family + "_bucket", **labels, le=bound)
            made[bucket] += sum(value <= float(bound) for value in values)
    made[key("job_records_discovered_total")] = len(counted) + still_open
    opened = Counter(world.record(id_).execute for id_ in world.open_ids() if world.record(id_).ever_visible)
    for status in ("init", "doing"):
        made[key("job_records", execute_status=status)] = opened[status]
    hidden = int(scrape.get(key("job_records_hidden"), 0.0))
    made[key("job_records", execute_status="done")] = len(world) - still_open - hidden
    return made


def _of_record(fact: RecordTruth, world: World) -> Counter[Key]:
    """The plain counters that one record adds to."""
    made = Counter[Key]()
    labels = {"provider": fact.provider, "script_type": fact.script_type}
    made[key("job_records_finished_total", result_status=fact.result, **labels)] += 1
    for host in fact.hosts:
        made[key("job_host_results_total", idc=host.idc, status=host.status)] += 1
    for idc, outcome in idc_outcomes(fact.hosts).items():
        made[key("job_idc_records_total", idc=idc, outcome=outcome)] += 1
    if fact.duration is None:
        made[key("job_exporter_records_incomplete_total", reason="bad_times")] += 1
    if any(host.idc == "unknown" for host in fact.hosts):
        made[key("job_exporter_records_incomplete_total", reason="missing_rows")] += 1
    record = world.record(fact.id)
    if record.result and record.result.lower() not in KNOWN:
        made[key("job_exporter_unknown_values_total", field="result_status")] += 1
    odd = sum(bool(status) and status.lower() not in KNOWN for _, status in record.all_rows())
    if odd:
        made[key("job_exporter_unknown_values_total", field="host_status")] += odd
    if fact.duration is not None:
        made[key(BY_THE_CLOCK + "_count")] += 1
    return made


def _observations(facts: Iterable[RecordTruth]) -> list[tuple[str, dict[str, str], list[int]]]:
    facts = list(facts)
    durations: dict[str, list[int]] = {}
    for fact in facts:
        if fact.duration is not None:
            durations.setdefault(fact.result, []).append(fact.duration)
    return [
        ("job_record_hosts", {}, [len(fact.hosts) for fact in facts]),
        *(
            ("job_record_duration_seconds", {"result_status": result}, values)
            for result, values in durations.items()
        ),
    ]


def _bounds(scrape: Scrape) -> dict[str, set[str]]:
    bounds: dict[str, set[str]] = {}
    for name, labels in scrape:
        if name.endswith("_bucket"):
            bounds.setdefault(name.removesuffix("_bucket"), set()).add(dict(labels)["le"])
    return bounds
