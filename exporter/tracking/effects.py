"""What one record moved, as the ledger keeps it beside the record's id: a short text. PURE.

`3,17,18:12,40:2` says: series number 3 grew by 1, number 17 too, number 18 by 12, number 40 by 2. Numbers are
given to series as they first move, and never again to others, so a text stays readable for as long as it is
kept, whatever becomes of the counters.
"""

from collections.abc import Iterable, Mapping

from exporter.model import Series
from exporter.tracking.counting import Increment


def unnumbered(increments: Iterable[Increment], numbers: Mapping[Series, int]) -> dict[Series, int]:
    """Numbers for the series that have none yet, going on from the highest."""
    new: dict[Series, int] = {}
    for increment in increments:
        if increment.series not in numbers and increment.series not in new:
            new[increment.series] = len(numbers) + len(new) + 1
    return new


def written(increments: Iterable[Increment], numbers: Mapping[Series, int]) -> str:
    """Write what increments move; each of their series has a number."""
    sums: dict[int, float] = {}
    for increment in increments:
        number = numbers[increment.series]
        sums[number] = sums.get(number, 0.0) + increment.value
    return ",".join(
        str(number) if value == 1.0 else f"{number}:{_short(value)}" for number, value in sums.items()
    )


def read(text: str, series: Mapping[int, Series]) -> dict[Series, float]:
    """Read what `written` wrote. Raises ValueError, or KeyError for a number that no series has."""
    moved = {}
    for part in text.split(",") if text else ():
        number, _, value = part.partition(":")
        moved[series[int(number)]] = float(value or 1.0)
    return moved


def _short(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
