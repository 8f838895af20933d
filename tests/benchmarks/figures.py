"""A figure, the aim it is held against, and how both are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from rich.table import Table


class Verdict(StrEnum):
    """Whether an aim was reached."""

    YES = "yes"
    NO = "no"
    NONE = ""  # there is no aim: the figure is there to be compared with


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure, written out; `ratio` is how far the aim is passed: 1 and above is reached."""

    name: str
    value: str
    aim: str = ""
    ratio: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the aim was reached."""
        if self.ratio is None:
            return Verdict.NONE
        return Verdict.YES if self.ratio >= 1 else Verdict.NO

    def cells(self) -> tuple[str, ...]:
        """The figure as a row of the table."""
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        return (self.name, self.aim, self.value, ratio, str(self.verdict))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Figures that were measured together, what was done to get them, and remarks found on the way."""

    title: str
    method: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()  # (how a figure's name begins, why it misses its aim)

    def remarks(self) -> tuple[str, ...]:
        """The notes, and the reasons of those aims that were not reached."""
        missed = [figure.name for figure in self.figures if figure.verdict is Verdict.NO]
        why = [text for start, text in self.reasons if any(name.startswith(start) for name in missed)]
        return (*self.notes, *why)


HEAD = ("figure", "aim", "value", "value ÷ aim", "reached")


def plain(name: str, value: str) -> Figure:
    """A figure without an aim."""
    return Figure(name=name, value=value)


def at_most(name: str, value: float, limit: float, unit: str = "") -> Figure:
    """A figure that should not be above `limit`; its ratio is limit ÷ value."""
    # A hair's breadth: 1.0 request a poll is a mean of floats.
    ratio = limit / value if value > 0 else 1.0
    ratio = 1.0 if 0.999 < ratio < 1.0 else ratio
    return Figure(name=name, value=shown(value, unit), aim=f"≤ {shown(limit, unit)}", ratio=ratio)


def at_least(name: str, value: float, limit: float, unit: str = "") -> Figure:
    """A figure that should not be below `limit`; its ratio is value ÷ limit."""
    return Figure(name=name, value=shown(value, unit), aim=f"≥ {shown(limit, unit)}", ratio=value / limit)


def shown(value: float, unit: str = "") -> str:
    """A number as a person reads it: three digits that count, thousands apart."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def print_section(section: Section, console: Console) -> None:
    """Show a section on the terminal."""
    table = Table(title=section.title, title_justify="left", caption=section.method, caption_justify="left")
    for title in HEAD:
        table.add_column(title, overflow="fold")
    for figure in section.figures:
        table.add_row(*figure.cells())
    console.print(table)
    for note in section.remarks():
        console.print(f"  - {note}", markup=False)


def markdown(sections: Sequence[Section]) -> str:
    """All sections as Markdown."""
    return "\n".join(_markdown(section) for section in sections)


def _markdown(section: Section) -> str:
    lines = [f"## {section.title}", "", section.method, "", _row(HEAD), _row(("---",) * len(HEAD))]
    lines += [_row(figure.cells()) for figure in section.figures]
    if remarks := section.remarks():
        lines += ["", *(f"- {note}" for note in remarks)]
    return "\n".join([*lines, ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
