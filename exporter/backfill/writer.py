"""Writes the work file as OpenMetrics with timestamps. The output file appears when it is complete."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, groupby
from pathlib import Path

from exporter.backfill.samples import BackfillError, Grid, Point, Sums, filled_families
from exporter.backfill.workfile import WorkFile
from exporter.metrics.collector import cumulated, head, heads
from exporter.metrics.families import Family, MetricType, number
from exporter.settings import MetricsSettings
from exporter.settings.time_range import Window
from exporter.tracking.decision import DISCOVERED

STAMPS = 4_096  # timestamps formatted at once
BUFFER = 1 << 20  # bytes
LONGEST_SUFFIX = ".partial-wal"  # of the files beside the output
Labels = tuple[tuple[str, str], ...]


def summed(work: WorkFile, grid: Grid, window: Window, config: MetricsSettings, *, label_limit: int) -> Sums:
    """Write the points of the window into the work file, by the ends and starts of its records."""
    sums = Sums(config, label_limit=label_limit)
    discovered, _ = sums.label_sets[DISCOVERED.series.family, ()]
    ended = ((grid.index(end), increments) for end, increments in work.ends(until=window.end))
    started = groupby(map(grid.index, work.starts(window)))
    began = (Point(discovered, step, "", float(len([*same]))) for step, same in started)
    work.replace_points(chain(sums.points(ended), began))
    return sums


class Text:
    """The output: family by family, label set by label set, in the order of time."""

    def __init__(
        self, work: WorkFile, grid: Grid, sums: Sums, config: MetricsSettings, extra: Labels
    ) -> None:
        """`extra`: labels that a scrape adds, such as job and instance."""
        self._work, self._grid, self._extra = work, grid, extra
        self._families = filled_families(config)
        self._label_sets = sorted(sums.label_sets.items())
        self._stamps = lru_cache(64)(self._formatted)
        self.label_sets = len(self._label_sets)
        self.written = 0  # label sets

    def lines(self) -> Iterator[str]:
        """Pieces of the text, whole lines each, ending with `# EOF`."""
        for family in self._families:
            yield head(family)[1].decode()
            for (name, labels), (group, birth) in self._label_sets:
                if name != family.name:
                    continue
                prefixes = heads(family, tuple(sorted((*labels, *self._extra))))
                for first, last, values in self._constant(family, group, birth):
                    yield from self._samples(prefixes, values, first, last)
                self.written += 1
        yield "# EOF\n"

    def _constant(self, family: Family, group: int, birth: int) -> Iterator[tuple[int, int, list[float]]]:
        """The ranges of steps (the last excluded) in which a label set does not change, and its values."""
        parts: dict[str, float] = {}
        since = birth
        for step, points in groupby(self._work.points_of(group), key=lambda point: point.step):
            yield since, step, _values(family, parts)
            since = step
            for point in points:
                parts[point.part] = parts.get(point.part, 0.0) + point.value
        yield since, len(self._grid), _values(family, parts)

    def _samples(self, prefixes: list[str], values: list[float], first: int, last: int) -> Iterator[str]:
        """The lines of a range of steps."""
        heads = [f"{prefix} {number(value)} " for prefix, value in zip(prefixes, values, strict=True)]
        while first < last:
            chunk, begin = divmod(first, STAMPS)
            stamps = self._stamps(chunk)[begin : begin + last - first]
            yield "".join([head + stamp for stamp in stamps for head in heads])
            first += len(stamps)

    def _formatted(self, chunk: int) -> Sequence[str]:
        first = chunk * STAMPS
        steps = range(first, min(first + STAMPS, len(self._grid)))
        return [f"{self._grid.at(step):.3f}".removesuffix(".000") + "\n" for step in steps]


def _values(family: Family, parts: Mapping[str, float]) -> list[float]:
    """The values of a label set in the order of its lines."""
    if family.type is not MetricType.HISTOGRAM:
        return [sum(parts.values())]
    counts, total = cumulated(family, parts.items())
    return [*counts, counts[-1], total]


@contextmanager
def output(path: Path) -> Iterator[Callable[[str], object]]:
    """Give a function that writes to `path`; the file appears at the end. Raises BackfillError."""
    rough = path.with_name(path.name + ".writing")
    try:
        with rough.open("w", encoding="utf-8", newline="\n", buffering=BUFFER) as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        refuse_existing(path)  # somebody may have created it meanwhile
        rough.rename(path)
    except OSError as error:
        raise BackfillError(
            f"{path} cannot be written ({error.strerror}): run the same command again to continue"
        ) from None
    finally:
        rough.unlink(missing_ok=True)


def refuse_existing(path: Path) -> None:
    """Raise BackfillError if the file exists, its folder does not, or its name is too long."""
    try:
        if path.exists() or not path.name:
            raise BackfillError(f"--output {path} exists: remove it, or name another")
        if not path.parent.is_dir():
            raise BackfillError(f"--output {path}: there is no folder {path.parent}")
        path.with_name(path.name + LONGEST_SUFFIX).exists()
    except OSError as error:  # such as a name that is too long
        raise BackfillError(f"--output {path}: {error.strerror}") from None
