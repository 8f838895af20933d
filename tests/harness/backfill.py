"""What the tests of the backfill share: a run of it without sockets, and its output as numbers."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from exporter.backfill.reader import Reader, ReadingConfig
from exporter.backfill.samples import Grid, grid
from exporter.backfill.workfile import Finished, WorkFile
from exporter.backfill.writer import Labels, Text, summed
from exporter.discovery.scan import Walk
from exporter.settings import MetricsSettings
from exporter.settings.time_range import Window
from exporter.simulator.truth import Tally
from tests.harness.inprocess import METRICS, RULES, Clock, WorldApi

MINUTE = 60.0
ASKED = {"--from": "30d"}
Key = tuple[str, tuple[tuple[str, str], ...]]  # name of a sample, its labels sorted
Samples = dict[Key, list[tuple[float, float]]]  # (time, value), in the order of the text
_LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+) (\S+)")
_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(text: str) -> Samples:
    """Read OpenMetrics with timestamps."""
    assert text.endswith("# EOF\n")
    found: Samples = defaultdict(list)
    for line in text.split("\n")[:-2]:
        if not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match, line
            labels = tuple(sorted(_PAIR.findall(match[2] or "")))
            found[match[1], labels].append((float(match[4]), float(match[3])))
    return dict(found)


def read(
    folder: Path,
    api: WorldApi,
    window: Window,
    *,
    owns: Callable[[Collection[str]], set[str]] = lambda _ids: set(),
    **config: Any,
) -> None:
    """Read a window into the work file of a folder."""
    api.left = 1_000_000
    clock = api.clock or Clock()
    with closing(WorkFile(folder / "out.partial", ASKED)) as work:
        reader = Reader(
            api=api,
            work=work,
            window=window,
            config=ReadingConfig(**{"buckets": RULES.buckets, "longest_run": 6 * 3600.0, **config}),
            owns=owns,
            wall=clock,
            monotonic=clock,
            sleep=clock.sleep,
        )
        asyncio.run(reader.read())


def walk_of(folder: Path) -> Walk:
    """Where the reading of a folder stands."""
    with closing(WorkFile(folder / "out.partial", ASKED)) as work:
        walk = work.walk
    assert walk is not None
    return walk


def written(
    folder: Path,
    window: Window,
    *,
    at: Grid | None = None,
    label_limit: int = 500,
    config: MetricsSettings = METRICS,
    labels: Labels = (),
) -> str:
    """Make the text of the work file of a folder."""
    at = at or grid(window, step=MINUTE)
    with closing(WorkFile(folder / "out.partial", ASKED)) as work:
        sums = summed(work, at, window, config, label_limit=label_limit)
        return "".join(Text(work, at, sums, config, labels).lines())


def kept(folder: Path, records: Iterable[Finished]) -> None:
    """Put records into the work file of a folder, as if they were read."""
    with closing(WorkFile(folder / "out.partial", ASKED)) as work:
        work.add(records, Walk(total=0, order=None, at=0, done=True))


def last_tally(found: Samples) -> Tally:
    """The last samples, in the shape of the simulator's truth."""
    results, kinds = Counter[str](), Counter[tuple[str, str, str]]()
    hosts, outcomes = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    counts, seconds = Counter[str](), Counter[str]()
    for (name, labels), points in found.items():
        value, label = int(points[-1][1]), dict(labels)
        match name:
            case "job_records_finished_total":
                results[label["result_status"]] += value
                kinds[label["result_status"], label["provider"], label["script_type"]] += value
            case "job_host_results_total":
                hosts[label["idc"], label["status"]] += value
            case "job_idc_records_total":
                outcomes[label["idc"], label["outcome"]] += value
            case "job_record_duration_seconds_sum":
                seconds[label["result_status"]] += value
            case "job_record_duration_seconds_count":
                counts[label["result_status"]] += value
    return Tally(
        results=dict(+results),
        kinds=dict(+kinds),
        hosts=dict(+hosts),
        outcomes=dict(+outcomes),
        durations={result: (count, seconds[result]) for result, count in (+counts).items()},
    )
