"""Writes one poll's changes in the transaction of `Ledger.commit`, and returns the state after it."""

from collections.abc import Iterable, Mapping
from itertools import chain

import sqlalchemy as sa
from msgspec.structs import replace

from exporter.ledger import statements, tables
from exporter.ledger.layout import Layout
from exporter.model import Exemplar, Sample, Series
from exporter.tracking import effects
from exporter.tracking.counting import Increment
from exporter.tracking.folding import fold_all
from exporter.tracking.state import State
from exporter.tracking.values import Changes


def apply(
    connection: sa.Connection, state: State, changes: Changes, layout: Layout, *, wall: float, time: float
) -> State:
    """Write the changes. A record counts only if its id was not settled before."""
    newborn = layout.newborn(wall=wall, time=time)
    revived = statements.revive(connection, [item.id for item in changes.found])
    counted = set(statements.counted(connection, [item.id for item in changes.settlements]))
    settlements = [item for item in changes.settlements if item.id not in counted]
    groups = (changes.increments, *(item.increments for item in settlements))
    folded = fold_all(groups, state.counters, layout.label_limit)
    numbers = statements.number(connection, state.numbers, chain.from_iterable(folded[1:]))
    moved = [effects.written(increments, numbers) for increments in folded[1:]]
    statements.settle(connection, settlements, moved, wall=wall, time=time)
    added = sums(chain.from_iterable(folded), state.counters, layout, newborn)
    statements.upsert(connection, added)
    samples = _merged(state.counters, added)
    tables.put(connection, "progress", tables.Progress(time=time, wall=wall, tail=changes.tail))
    if changes.counting_start != state.counting_start:
        tables.put(connection, "beginning", changes.counting_start)
    holds = (*state.holds, newborn.held_until) if len(samples) > len(state.counters) else state.holds
    return State(
        tail=changes.tail,
        counting_start=changes.counting_start,
        followed=statements.follow(connection, state.followed, changes),
        counters=samples,
        latest=statements.keep_latest(connection, state.latest, changes.latest),
        failures=statements.keep_failures(connection, state.failures, settlements),
        recent=statements.keep_recent(connection, state.recent, settlements, samples, wall),
        numbers=numbers,
        records=state.records + len(settlements) - revived,
        time=time,
        holds=later(holds, time),
    )


def sums(
    increments: Iterable[Increment], had: Mapping[Series, Sample], layout: Layout, newborn: Sample
) -> dict[Series, Sample]:
    """Sum the increments by series. A new series brings its siblings (rule 9), which begin as `newborn`."""
    values: dict[Series, float] = {}
    exemplars: dict[Series, Exemplar] = {}
    for increment in increments:
        series = increment.series
        values[series] = values.get(series, 0.0) + increment.value
        if increment.exemplar is not None:
            exemplars[series] = increment.exemplar
    siblings = (sibling for series in values if series not in had for sibling in layout.siblings(series))
    new = {series: newborn for series in siblings if series not in had}
    for series, value in values.items():
        new[series] = replace(had.get(series, newborn), value=value, exemplar=exemplars.get(series))
    return new


def _merged(had: Mapping[Series, Sample], added: Mapping[Series, Sample]) -> Mapping[Series, Sample]:
    """The counters after the sums were added, as `statements.upsert` does in the database."""
    merged = dict(had)
    for series, sample in added.items():
        before = had.get(series)
        merged[series] = replace(
            sample,
            value=sample.value + (before.value if before else 0.0),
            exemplar=sample.exemplar or (before.exemplar if before else None),
        )
    return merged


def later(holds: Iterable[float], time: float) -> tuple[float, ...]:
    """Those ledger times that are still to come, ascending."""
    return tuple(sorted({hold for hold in holds if hold > time}))
