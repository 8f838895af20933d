"""Small tools of measuring: percentiles, CPU, memory."""

import gc
import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import structlog

median = statistics.median


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` percent of all do not exceed; nan of none."""
    if not values:
        return math.nan
    return sorted(values)[min(len(values) - 1, math.ceil(share / 100 * len(values)) - 1)]


def cpu_seconds(work: Callable[[], object], *, times: int, repeat: int = 5) -> float:
    """CPU seconds of this process for one call of `work`: the median of `repeat` runs of `times` calls."""
    runs = []
    for _ in range(repeat):
        gc.collect()
        began = time.process_time()
        for _ in range(times):
            work()
        runs.append((time.process_time() - began) / times)
    return median(runs)


def resident() -> float:
    """Resident memory of this process, MB."""
    return float(psutil.Process().memory_info().rss) / 1e6


def peak() -> float:
    """The highest that resident memory of this process has been, MB.

    Not `ru_maxrss`: a process begins that with what its parent had.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def quiet() -> None:
    """Log nothing but errors: standard output is for figures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
