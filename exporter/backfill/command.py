"""The command `backfill`: parses its flags and runs the parts; each error is one line."""

import argparse
import asyncio
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from exporter import logs
from exporter.backfill.boundary import Live, live
from exporter.backfill.grid import BackfillError, Grid, grid
from exporter.backfill.progress import Shown
from exporter.backfill.reader import Reader, ReadingConfig, answered
from exporter.backfill.sums import filled_families
from exporter.backfill.workfile import Partial, opened
from exporter.backfill.writer import Labels, Text, output, refuse_existing, summed
from exporter.jobapi.client import JobApi, NullObserver
from exporter.metrics.layout import buckets
from exporter.settings import MetricsSettings, Settings, SettingsError, load
from exporter.settings.flags import names, parsed_some
from exporter.settings.parsers import duration
from exporter.settings.time_range import AHEAD, Window, shown, window

MAX_PAGE_SIZE = 50  # small: if the command is killed, the look-ups of an unfinished page are lost
# A dashboard's rate window is a minute at a zoom of up to 6 hours, and a rate needs two samples.
DEFAULT_STEP = "30s"
MAX_STEP = 300.0  # seconds: Prometheus treats older samples as stale
_LABEL = re.compile(r"((?!__)[a-zA-Z_][a-zA-Z0-9_]*)=(.+)", re.DOTALL)  # __ is Prometheus' own


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The parsed flags of `backfill`."""

    begin: str
    end: str
    output: Path
    step: float  # seconds
    longest_run: float  # seconds
    labels: Labels


def backfill(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Read the window, write the output. Raises SettingsError, ConfigError, BackfillError."""
    wanted, settings = _parsed(argv, environ)
    logs.configure(level="error", form=settings.log.format)
    work = _Work(wanted, settings, Console(stderr=True))
    try:
        work.run()
    except KeyboardInterrupt:
        raise BackfillError(
            f"interrupted; what was read is kept in {work.partial_path}: the same command goes on from there"
        ) from None
    return 0


def backfill_parser() -> argparse.ArgumentParser:
    """Flags of `backfill` that are not settings."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False, usage="")
    parser.add_argument(
        "--from", metavar="TIME", help="count records that ended after TIME: 30d, a date, or a date and time"
    )
    parser.add_argument(
        "--to", metavar="TIME", default="now", help="count records that ended up to TIME; default: now"
    )
    parser.add_argument("--output", metavar="FILE", help="OpenMetrics file to write; must not exist")
    parser.add_argument(
        "--step", default=DEFAULT_STEP, help=f"time between two samples, 1s to 5m; default: {DEFAULT_STEP}"
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="label that the scrape adds, such as job=jobs; repeatable",
    )
    parser.add_argument(
        "--longest-run",
        default="6h",
        metavar="DURATION",
        help="skip records that began longer than this before the window; default: 6h",
    )
    return parser


class _Work:
    """One run of the command."""

    def __init__(self, wanted: Wanted, settings: Settings, console: Console) -> None:
        self._wanted, self._settings, self._console = wanted, settings, console
        self._platform = settings.require_platform()
        self._metrics = settings.metrics
        refuse_existing(wanted.output)
        self.partial_path = wanted.output.with_name(wanted.output.name + ".partial")
        _refuse_own_labels(wanted.labels, self._metrics)
        self._window(time.time())

    def run(self) -> None:
        """Read, then write; delete the work file once the output is complete."""
        ledger = live(self._settings.state.url.get_secret_value(), platform=self._platform)
        try:
            if ledger is None:
                self._say("no ledger at state.url: records that a daemon counts are not excluded")
            with opened(self.partial_path, self._asked()) as partial:
                window = asyncio.run(self._read(partial, ledger))
                self._write(partial, ledger, window)
                partial.remove()
        finally:
            if ledger is not None:
                ledger.close()

    async def _read(self, partial: Partial, ledger: Live | None) -> Window:
        """Read the rest of the window; return the window."""
        api = JobApi(self._settings.api, NullObserver())
        try:
            window = partial.window
            if window is None:
                window = partial.window = self._begun(await self._now(api), ledger)
            else:
                self._say(f"going on with {partial.path}")
            with Shown("reading", "records", self._console) as progress:
                reader = Reader(
                    api=api,
                    partial=partial,
                    window=window,
                    config=self._reading(),
                    owns=ledger.owns if ledger else lambda _ids: set(),
                    tell=progress.tell,
                )
                await reader.read()
        finally:
            await api.aclose()
        return window

    async def _now(self, api: JobApi) -> float:
        """The time by which records end: ours, unless the platform's clock differs."""
        await answered(api)
        skew = api.clock_skew or 0.0
        if abs(skew) <= AHEAD:
            return time.time()
        self._say(f"the platform's clock differs by {skew:+.0f} s: times are the platform's")
        return time.time() + skew

    def _window(self, now: float) -> Window:
        return window(("--from", self._wanted.begin), ("--to", self._wanted.end), now=now)

    def _begun(self, now: float, ledger: Live | None) -> Window:
        """The window as asked for, up to where live counting began."""
        asked = self._window(now)
        if ledger is None or asked.end <= ledger.boundary.baseline_end:
            return asked
        baseline_end = ledger.boundary.baseline_end
        if baseline_end <= asked.begin:
            raise BackfillError(
                f"live counting began {shown(max(baseline_end, 0.0))}, before --from: nothing to fill in"
            )
        self._say(f"live counting began {shown(baseline_end)}: the backfill ends there")
        return replace(asked, end=baseline_end)

    def _write(self, partial: Partial, ledger: Live | None, window: Window) -> None:
        """Make the output of the work file."""
        latest = math.inf
        if ledger is not None:  # it may have come, or counted more, while the platform was read
            partial.drop(ledger.owns)
            window = replace(window, end=min(window.end, ledger.boundary.baseline_end))
            latest = ledger.boundary.created
        samples = grid(window, step=self._wanted.step, latest=latest)
        self._say("adding up")
        label_limit = self._settings.metrics.label_limit
        sums = summed(partial, samples, window, self._metrics, label_limit=label_limit)
        text = Text(partial, samples, sums, self._metrics, self._wanted.labels)
        with Shown("writing", "label sets", self._console) as progress, output(self._wanted.output) as write:
            for piece in text.lines():
                write(piece)
                progress.tell(text.written / max(1, text.label_sets), text.written)
        self._summary(partial, window, samples, text.label_sets)

    def _summary(self, partial: Partial, window: Window, samples: Grid, label_sets: int) -> None:
        walk = partial.walk
        tell = Console(soft_wrap=True, highlight=False, markup=False).print
        tell(
            f"{self._wanted.output}: {partial.counted():,} records that ended after {shown(window.begin)} "
            f"and by {shown(window.end)}; {label_sets:,} label sets, {len(samples):,} samples each"
        )
        if walk is not None and walk.unread:
            tell(f"not to be read, and left out or counted without hosts: {walk.unread:,} records")
        if walk is not None and walk.hidden:
            tell(f"positions that showed no record, as those without host rows do: {walk.hidden:,}")

    def _asked(self) -> dict[str, object]:
        """What makes a work file another one's."""
        return {
            "api.base-url": self._platform,
            "--from": self._wanted.begin,
            "--to": self._wanted.end,
            "--longest-run": self._wanted.longest_run,
            "api.timezone": str(self._settings.api.timezone),
            "metrics.record-labels": self._metrics.record_labels,
            "metrics.duration-buckets": self._metrics.duration_buckets,
        }

    def _reading(self) -> ReadingConfig:
        return ReadingConfig(
            longest_run=self._wanted.longest_run,
            duty=self._settings.api.duty,
            page_size=min(MAX_PAGE_SIZE, self._settings.api.page_size),
            record_labels=self._metrics.record_labels,
            buckets=buckets(self._metrics),
        )

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


def _parsed(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Wanted, Settings]:
    """Read the flags that are not settings, then the settings. Raises SettingsError."""
    namespace, rest = parsed_some(backfill_parser(), argv)
    given = vars(namespace)
    settings = load(rest, environ, beside=names(namespace))
    for name in ("from", "output"):
        if not given[name]:
            raise SettingsError(f"--{name} is missing: job-exporter backfill --from 30d --output FILE")
    step = _duration("--step", given["step"])
    if not 1.0 <= step <= MAX_STEP:
        raise SettingsError(
            f"--step {given['step']}: between 1s and 5m, after which Prometheus forgets a value"
        )
    wanted = Wanted(
        begin=given["from"],
        end=given["to"],
        output=Path(given["output"]),
        step=step,
        longest_run=_duration("--longest-run", given["longest_run"]),
        labels=tuple(_label(text) for text in given["label"]),
    )
    return wanted, settings


def _duration(flag: str, text: str) -> float:
    try:
        return duration(text)
    except ValueError as error:
        raise SettingsError(f"{flag}: {error}") from None


def _label(text: str) -> tuple[str, str]:
    match = _LABEL.fullmatch(text)
    if match is None:
        raise SettingsError(f"--label {text!r} is not NAME=VALUE, such as --label job=job-exporter")
    return match[1], match[2]


def _refuse_own_labels(labels: Labels, config: MetricsSettings) -> None:
    own = {"le", *(name for family in filled_families(config) for name in family.labels)}
    names = [name for name, _ in labels]
    for name in names:
        if name in own or names.count(name) > 1:
            raise SettingsError(f"--label {name}: the label is there already")
