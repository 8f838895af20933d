"""`python -m tests.benchmarks`: measure, show, and write RESULTS.md beside this file."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console

from tests.benchmarks import (
    cost,
    freshness,
    history,
    ledgers,
    memory,
    platform_cost,
    rendering,
    scraping,
    settling,
)
from tests.benchmarks.figures import Section, markdown, print_section
from tests.benchmarks.measuring import quiet

RESULTS = Path(__file__).with_name("RESULTS.md")
PARTS: dict[str, Callable[[bool], Section]] = {
    "cost": lambda _: cost.measure(),
    "platform": lambda _: platform_cost.measure(),
    "freshness": lambda _: freshness.measure(),
    "rendering": lambda _: rendering.measure(),
    "scraping": lambda _: scraping.measure(),
    "settling": lambda _: settling.measure(),
    "ledgers": lambda _: ledgers.measure(),
    "memory": memory.measure,
    "history": history.measure,
}


def main() -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)}; all of them")
    parser.add_argument("--full", action="store_true", help="the long runs too: a quarter of an hour")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md as it is")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    quiet()
    console = Console(width=None if sys.stdout.isatty() else 140)
    sections = []
    began, load = time.monotonic(), os.getloadavg()[0]
    for name in args.parts or PARTS:
        console.print(f"[dim]measuring {name} …[/dim]")
        section = PARTS[name](args.full)
        print_section(section, console)
        sections.append(section)
    if not args.parts and not args.no_write:
        RESULTS.write_text(
            _head(args.full, time.monotonic() - began, (load, os.getloadavg()[0])) + markdown(sections)
        )
        console.print(f"written to {RESULTS.name}")
    return 0


def _head(full: bool, seconds: float, load: tuple[float, float]) -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"# Figures\n\nWritten by `make bench{' ARGS=--full' if full else ''}` in {seconds:.0f} s on "
        f"{datetime.now(UTC):%Y-%m-%d}: {psutil.cpu_count()} virtual cores of {platform.machine()}, "
        f"{memory:.0f} GB, Linux, Python {platform.python_version()}. "
        "Compare only within a section: its figures were measured in turns, medians are shown. "
        "`value ÷ aim` is how far an aim is passed (for an upper limit: aim ÷ value); 1 and above is "
        "reached. Some aims are the benchmark's own and stand in no issue: the records of the first half "
        "hour, what is counted of what ended two intervals ago, requests per counted record and beside a "
        "naive poller that reads two pages, 0.6 of the floor for 50 hosts, the memory of a backfill.\n\n"
        f"Load of the machine, processes over the last minute: {load[0]:.1f} at the start, {load[1]:.1f} at "
        "the end. Above the number of cores, latencies and speeds say little by themselves; counts, CPU "
        "times and ratios hold.\n\n"
    )


if __name__ == "__main__":
    sys.exit(main())
