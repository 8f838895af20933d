"""Writes the work file as OpenMetrics with timestamps. The output appears only once it is complete."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from exporter.backfill.grid import BackfillError, Grid
from exporter.backfill.sums import DISCOVERED, LabelSet, Point, Sums, filled_families
from exporter.backfill.workfile import Partial
from exporter.metrics.collector import cumulated, head, heads
from exporter.metrics.families import Family, MetricType, number
from exporter.settings import MetricsSettings
from exporter.settings.time_range import Window

BATCH = 10_000  # points written at once
STAMPS = 4_096  # timestamps made at once
BUFFER = 1 << 20  # bytes
LONGEST_SUFFIX = ".partial-wal"  # of the files beside the output
Labels = tuple[tuple[str, str], ...]


def summed(
    partial: Partial, grid: Grid, window: Window, config: MetricsSettings, *, label_limit: int
) -> Sums:
    """Pass one: all that ended, in the order of its ends, into the points of the work file."""
    sums = Sums(config, label_limit=label_limit)
    with partial.points() as keep:
        batch: list[Point] = []
        for ended, increments in partial.ends(until=window.end):
            batch += sums.add(grid.index(ended), increments)
            if len(batch) >= BATCH:
                keep(batch)
                batch = []
        keep([*batch, *sums.rest(), *_discovered(partial, grid, window, sums)])
    return sums


def _discovered(partial: Partial, grid: Grid, window: Window, sums: Sums) -> Iterator[Point]:
    """What began in the window; starts have an order of their own."""
    group = next(group for (family, _), group, _ in sums.label_sets if family == DISCOVERED)
    for step, starts in groupby(map(grid.index, partial.starts(window))):
        yield Point(group=group, step=step, part="", value=float(sum(1 for _ in starts)))


class Text:
    """Pass two: the points as text, family by family, label set by label set, in the order of time."""

    def __init__(
        self, partial: Partial, grid: Grid, sums: Sums, config: MetricsSettings, extra: Labels
    ) -> None:
        """`extra` are the labels that a scrape adds, such as job and instance."""
        self._partial, self._grid, self._extra = partial, grid, extra
        self._families = filled_families(config)
        self._by_family: dict[str, list[tuple[LabelSet, int, int]]] = {}
        for label_set, group, birth in sums.label_sets:
            self._by_family.setdefault(label_set[0], []).append((label_set, group, birth))
        self._stamps = lru_cache(64)(self._made_stamps)
        self.label_sets = sum(len(sets) for sets in self._by_family.values())
        self.written = 0  # label sets

    def lines(self) -> Iterator[str]:
        """Give pieces of the text, whole lines each, ending with `# EOF`."""
        for family in self._families:
            yield head(family)[1].decode()
            for (_, labels), group, birth in sorted(self._by_family.get(family.name, [])):
                prefixes = heads(family, tuple(sorted((*labels, *self._extra))))
                for first, last, values in self._runs(family, group, birth):
                    yield from self._run(prefixes, values, first, last)
                self.written += 1
        yield "# EOF\n"

    def _runs(self, family: Family, group: int, birth: int) -> Iterator[tuple[int, int, list[float]]]:
        """One label set from its birth to the end: the steps among which nothing changes, and its values."""
        parts: dict[str, float] = {}
        since = birth
        for step, points in groupby(self._partial.points_of(group), key=lambda point: point.step):
            yield since, step, _values(family, parts)
            since = step
            for point in points:
                parts[point.part] = parts.get(point.part, 0.0) + point.value
        yield since, len(self._grid), _values(family, parts)

    def _run(self, prefixes: list[str], values: list[float], first: int, last: int) -> Iterator[str]:
        """The samples of steps `first` to `last` (left out)."""
        heads = [f"{prefix} {number(value)} " for prefix, value in zip(prefixes, values, strict=True)]
        while first < last:
            chunk, begin = divmod(first, STAMPS)
            stamps = self._stamps(chunk)[begin : begin + last - first]
            yield "".join([head + stamp for stamp in stamps for head in heads])
            first += len(stamps)

    def _made_stamps(self, chunk: int) -> Sequence[str]:
        first = chunk * STAMPS
        steps = range(first, min(first + STAMPS, len(self._grid)))
        return [f"{_number(self._grid.at(step))}\n" for step in steps]


def _values(family: Family, parts: Mapping[str, float]) -> list[float]:
    """The values of a label set in the order of its lines."""
    if family.type is not MetricType.HISTOGRAM:
        return [sum(parts.values())]
    counts, total = cumulated(family, parts.items())
    return [*counts, counts[-1], total]


@contextmanager
def output(path: Path) -> Iterator[Callable[[str], object]]:
    """Give what writes to `path`, which is there once all is written and durable; raises BackfillError."""
    rough = path.with_name(path.name + ".writing")
    try:
        with rough.open("w", encoding="utf-8", newline="\n", buffering=BUFFER) as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        refuse_existing(path)  # it may have come meanwhile
        rough.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise BackfillError(f"{path} can't be written ({error.strerror}): what was read is kept") from None
    finally:
        rough.unlink(missing_ok=True)


def refuse_existing(path: Path) -> None:
    """Raise BackfillError if there is such a file, no folder for it, or the name is too long."""
    try:
        if path.exists() or not path.name:
            raise BackfillError(f"--output {path} exists: remove it, or name another")
        if not path.parent.is_dir():
            raise BackfillError(f"--output {path}: there is no folder {path.parent}")
        path.with_name(path.name + LONGEST_SUFFIX).exists()
    except OSError as error:  # such as a name that is too long
        raise BackfillError(f"--output {path}: {error.strerror}") from None


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _number(moment: float) -> str:
    return f"{moment:.3f}".removesuffix(".000")
