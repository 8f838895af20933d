"""How far a backfill is: a bar on a terminal, else a plain line each ten seconds; on standard error."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

PLAIN_EVERY = 10.0  # seconds between two lines where there is no terminal


class Shown:
    """One stage of the work, while it lasts; `tell` is called as often as one likes."""

    def __init__(
        self, stage: str, unit: str, console: Console, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`stage` is what is done (`reading`), `unit` what is counted (`records`)."""
        self._stage, self._unit, self._console, self._monotonic = stage, unit, console, monotonic
        self._first: tuple[float, int] | None = None  # share and count when this run began
        self._began = self._told = monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn(stage), BarColumn(), TextColumn("{task.fields[told]}"), console=console
            )
            self._task = self._bar.add_task(stage, total=1.0, told="")

    def __enter__(self) -> "Shown":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, share: float, count: int) -> None:
        """Take note that `share` of the work (0 to 1) is done, and so many units."""
        now = self._monotonic()
        if self._first is None:
            self._first = share, count
        text = described(share, count, self._unit, since=self._first, seconds=now - self._began)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=share, told=text)
        elif now - self._told >= PLAIN_EVERY:
            self._told = now
            self._console.print(f"{self._stage}: {text}", soft_wrap=True, highlight=False)


def described(share: float, count: int, unit: str, *, since: tuple[float, int], seconds: float) -> str:
    """Say how far it is, how fast, and how long it takes; `since` is share and count `seconds` ago."""
    text = f"{share:.0%}, {count:,} {unit}"
    if seconds <= 0:
        return text
    text += f", {(count - since[1]) / seconds:,.0f}/s"
    gained = share - since[0]
    if gained > 0 and share < 1:
        text += f", about {_rough((1 - share) * seconds / gained)} left"
    return text


def _rough(seconds: float) -> str:
    """A time to wait, in the unit that a person would use."""
    for size, unit in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
