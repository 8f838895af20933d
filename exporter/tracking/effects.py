"""The increments of a record as a short text, which the ledger stores with the record's id. PURE.

`3,17,18:12` means: series 3 and 17 grew by 1, series 18 by 12. A series gets its number when it first grows.
A number is never reused, so the text stays readable whatever happens to the counters.
"""

from collections.abc import Iterable, Mapping

from exporter.model import Series
from exporter.tracking.counting import Increment


def unnumbered(increments: Iterable[Increment], numbers: Mapping[Series, int]) -> dict[Series, int]:
    """New numbers for the series that have none, counting on from the highest."""
    new = dict.fromkeys(one.series for one in increments if one.series not in numbers)
    return {series: number for number, series in enumerate(new, len(numbers) + 1)}


def written(increments: Iterable[Increment], numbers: Mapping[Series, int]) -> str:
    """Write increments as text; each of their series has a number."""
    sums: dict[int, float] = {}
    for increment in increments:
        number = numbers[increment.series]
        sums[number] = sums.get(number, 0.0) + increment.value
    short = {number: int(value) if value.is_integer() else value for number, value in sums.items()}
    return ",".join(f"{number}:{value!r}" if value != 1 else str(number) for number, value in short.items())


def read(text: str, series: Mapping[int, Series]) -> dict[Series, float]:
    """Read such a text. Raises ValueError, or KeyError for an unknown number."""
    moved = {}
    for part in text.split(",") if text else ():
        number, _, value = part.partition(":")
        moved[series[int(number)]] = float(value or 1.0)
    return moved
