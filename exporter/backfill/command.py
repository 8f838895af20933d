"""The command `backfill`: parses the flags, reads the platform, writes the output."""

import argparse
import asyncio
import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from exporter import logs
from exporter.backfill.boundary import Live
from exporter.backfill.progress import progress
from exporter.backfill.reader import Reader, ReadingConfig
from exporter.backfill.samples import BackfillError, filled_families, grid
from exporter.backfill.workfile import WorkFile
from exporter.backfill.writer import Labels, Text, output, refuse_existing, summed
from exporter.jobapi.client import JobApi
from exporter.jobapi.patient import PatientApi
from exporter.metrics.families import buckets
from exporter.settings import MetricsSettings, Settings, SettingsError, load_with
from exporter.settings.reading import FlagParser, duration_flag
from exporter.settings.time_range import AHEAD, Window, shown, window

MAX_PAGE_SIZE = 50  # small: if the command is killed, the look-ups of an unfinished page are lost
# A dashboard's rate window is a minute at a zoom of up to 6 hours, and a rate needs two samples.
DEFAULT_STEP = "30s"
MAX_STEP = 300.0  # seconds: Prometheus treats older samples as stale
_LABEL = re.compile(r"((?!__)[a-zA-Z_][a-zA-Z0-9_]*)=(.+)", re.DOTALL)  # __ is Prometheus' own


def backfill(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command. Raises SettingsError, LedgerError, ApiError, BackfillError."""
    given, settings = load_with(backfill_parser(), argv, environ)
    for name in ("from", "output"):
        if not vars(given)[name]:
            raise SettingsError(f"--{name} is missing: job-exporter backfill --from 30d --output FILE")
    logs.configure(level="error", form=settings.log.format)
    run = _Run(given, settings)
    try:
        run.run()
    except KeyboardInterrupt:
        raise BackfillError(
            f"interrupted; what was read is kept in {run.work_path}: run the same command to continue"
        ) from None
    return 0


def backfill_parser() -> argparse.ArgumentParser:
    """Flags of `backfill` that are not settings."""
    parser = FlagParser()
    parser.add_argument(
        "--from", metavar="TIME", help="count records that ended after TIME: 30d, a date, or a date and time"
    )
    parser.add_argument(
        "--to", metavar="TIME", default="now", help="count records that ended up to TIME; default: now"
    )
    parser.add_argument("--output", metavar="FILE", help="OpenMetrics file to write; must not exist")
    parser.add_argument(
        "--step",
        type=_step,
        default=DEFAULT_STEP,
        help=f"time between two samples, 1s to 5m; default: {DEFAULT_STEP}",
    )
    parser.add_argument(
        "--label",
        type=_label,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="label that the scrape adds, such as job=jobs; repeatable",
    )
    parser.add_argument(
        "--longest-run",
        type=duration_flag,
        default="6h",
        metavar="DURATION",
        help="skip records that began longer than this before the window; default: 6h",
    )
    return parser


class _Run:
    """One run of the command."""

    def __init__(self, given: argparse.Namespace, settings: Settings) -> None:
        """Check what can be checked without the platform. Raises SettingsError, BackfillError."""
        self._given, self._settings, self._metrics = given, settings, settings.metrics
        self._console = Console(stderr=True)
        self._platform = settings.require_platform()
        self._output = Path(given.output)
        refuse_existing(self._output)
        self.work_path = self._output.with_name(self._output.name + ".partial")
        _refuse_own_labels(given.label, self._metrics)
        self._window(time.time())

    def run(self) -> None:
        """Read, then write; delete the work file when the output is complete."""
        url = self._settings.state.url.get_secret_value()
        with contextlib.closing(Live(url, platform=self._platform)) as live:
            if not live.exists:
                self._say("no ledger at state.url: records that a daemon counts are not excluded")
            with contextlib.closing(WorkFile(self.work_path, self._asked())) as work:
                self._write(work, live, asyncio.run(self._read(work, live)))
                work.remove()

    async def _read(self, work: WorkFile, live: Live) -> Window:
        """Read the rest of the window; return the window."""
        async with contextlib.aclosing(JobApi(self._settings.api)) as api:
            window = work.window
            if window is None:
                window = work.window = self._limited(await self._now(api), live)
            else:
                self._say(f"continuing with {work.path}")
            config = ReadingConfig(
                longest_run=self._given.longest_run,
                duty=self._settings.api.duty,
                page_size=min(MAX_PAGE_SIZE, self._settings.api.page_size),
                record_labels=self._metrics.record_labels,
                buckets=buckets(self._metrics),
            )
            with progress("reading", "records", self._console) as tell:
                await Reader(
                    api=api, work=work, window=window, config=config, owns=live.owns, tell=tell
                ).read()
        return window

    async def _now(self, api: JobApi) -> float:
        """The current time: ours, or the platform's if its clock differs."""
        await PatientApi(api, duty=1.0).total()
        skew = api.clock_skew or 0.0
        if abs(skew) <= AHEAD:
            return time.time()
        self._say(f"the platform's clock differs by {skew:+.0f} s: times are the platform's")
        return time.time() + skew

    def _window(self, now: float) -> Window:
        return window(("--from", vars(self._given)["from"]), ("--to", self._given.to), now=now)

    def _limited(self, now: float, live: Live) -> Window:
        """The window of the flags, up to where live counting began."""
        asked = self._window(now)
        if asked.end <= live.began:
            return asked
        if live.began <= asked.begin:
            raise BackfillError(
                f"live counting began {shown(max(live.began, 0.0))}, before --from: nothing to fill in"
            )
        self._say(f"live counting began {shown(live.began)}: the backfill ends there")
        return replace(asked, end=live.began)

    def _write(self, work: WorkFile, live: Live, window: Window) -> None:
        """Make the output from the work file, and print a summary."""
        work.drop(live.owns)  # the daemon may have counted more while the platform was read
        window = replace(window, end=min(window.end, live.began))
        samples = grid(window, step=self._given.step, latest=live.created)
        self._say("summing")
        sums = summed(work, samples, window, self._metrics, label_limit=self._metrics.label_limit)
        text = Text(work, samples, sums, self._metrics, tuple(self._given.label))
        with progress("writing", "label sets", self._console) as tell, output(self._output) as write:
            for piece in text.lines():
                write(piece)
                tell(text.written / max(1, text.label_sets), text.written)
        self._summarize(work, window, f"{text.label_sets:,} label sets, {len(samples):,} samples each")

    def _summarize(self, work: WorkFile, window: Window, size: str) -> None:
        tell = Console(soft_wrap=True, highlight=False, markup=False).print
        tell(
            f"{self._output}: {work.counted():,} records that ended after {shown(window.begin)} "
            f"and up to {shown(window.end)}; {size}"
        )
        if work.walk is not None and work.walk.unread:
            tell(f"{work.walk.unread:,} records could not be read: left out, or counted without hosts")
        if work.walk is not None and work.walk.hidden:
            tell(f"positions without a record, for example because it has no host rows: {work.walk.hidden:,}")

    def _asked(self) -> dict[str, object]:
        """What must not change between two runs with the same work file."""
        return {
            "api.base-url": self._platform,
            "--from": vars(self._given)["from"],
            "--to": self._given.to,
            "--longest-run": self._given.longest_run,
            "api.timezone": str(self._settings.api.timezone),
            "metrics.record-labels": self._metrics.record_labels,
            "metrics.duration-buckets": self._metrics.duration_buckets,
        }

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


def _step(text: str) -> float:
    seconds = duration_flag(text)
    if not 1.0 <= seconds <= MAX_STEP:
        raise argparse.ArgumentTypeError(
            f"{text} is not from 1s to 5m; Prometheus treats older samples as stale"
        )
    return seconds


def _label(text: str) -> tuple[str, str]:
    match = _LABEL.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as job=job-exporter")
    return match[1], match[2]


def _refuse_own_labels(labels: Labels, config: MetricsSettings) -> None:
    own = {"le", *(name for family in filled_families(config) for name in family.labels)}
    names = [name for name, _ in labels]
    for name in names:
        if name in own or names.count(name) > 1:
            raise SettingsError(f"--label {name}: the metrics have this label already, or it was given twice")
