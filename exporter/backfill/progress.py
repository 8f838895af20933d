"""Progress of a backfill on standard error: a bar on a terminal, otherwise a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_EVERY = 10.0  # seconds
STEPS = 10_000  # of the bar


@contextmanager
def progress(
    stage: str, unit: str, console: Console, *, monotonic: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[float, int], None]]:
    """Show a stage (`reading`) of so many units (`records`) until the block ends.

    Call the function with the share that is done (0 to 1) and the number of units, as often as you like.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[count]:,} " + unit),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, disable=not console.is_terminal)
    task: TaskID | None = None
    printed = monotonic()

    def tell(share: float, count: int) -> None:
        nonlocal task, printed
        if console.is_terminal and task is None:
            # An earlier run may have done a part: that is not the speed of this one.
            task = bar.add_task(stage, total=STEPS, completed=round(share * STEPS), count=count)
        elif task is not None:
            bar.update(task, completed=round(share * STEPS), count=count)
        elif monotonic() - printed >= LINE_EVERY:
            printed = monotonic()
            console.print(f"{stage}: {share:.0%}, {count:,} {unit}", soft_wrap=True, highlight=False)

    with bar:
        yield tell
