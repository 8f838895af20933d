"""One fixed snapshot, its exposition in both formats, and what promtool says of it.

After a wanted change of names, HELP or buckets, write the golden files anew by
`python -m tests.metrics.test_golden`, and look at the difference: dashboards and alerts hang on it.
"""

import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from exporter.metrics.families import FAMILIES, initial_series, siblings
from exporter.metrics.process import ProcessMetrics
from exporter.model import Exemplar, Sample, Series, Snapshot
from exporter.settings import MetricsSettings
from tests.harness.metrics import OPENMETRICS, parse_openmetrics, shown
from tests.rules.tools import MAJORS, program

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {"metrics.txt": "text/plain", "metrics.openmetrics.txt": OPENMETRICS}
NOW, TIME = 1_700_000_000.0, 1_000_500.0  # our clock, and ledger time
SHANGHAI, ODD = "上海-1", 'say "hi"\\\nthere'


def ledger() -> dict[Series, Sample]:
    """Count by hand what a first hour could leave: two IDCs, one of them just born, and a failed record."""
    old, young = NOW - 3600, NOW - 10
    zero = Sample(value=0.0, born=old)
    counted = dict.fromkeys(initial_series(MetricsSettings()), zero)
    exemplar = Exemplar(record_id="020c1dbf-146e-a19c-0d94-c8c2965c7ab3", value=1.0, timestamp=NOW - 300)
    labels = (("provider", "ansible"), ("script_type", "sh"))
    counted |= dict.fromkeys(
        siblings(Series("job_records_finished_total", (("result_status", ""), *labels))), zero
    )
    counted |= dict.fromkeys(siblings(hosts(SHANGHAI, "fail")), zero)
    counted |= dict.fromkeys(siblings(hosts(ODD, "fail")), replace(zero, born=young, held_until=TIME + 50))
    failed = (("result_status", "fail"),)
    duration = "job_record_duration_seconds"
    for series, value, shown_by in (
        (Series("job_records_discovered_total"), 1_234_567.0, None),
        (Series("job_records_finished_total", (*failed, *labels)), 2.0, exemplar),
        (Series(duration, failed, "60.0"), 2.0, replace(exemplar, value=42.5)),
        (Series(duration, failed, "+Inf"), 1.0, None),
        (Series(duration, failed, "sum"), 40_000.25, None),
        (hosts(SHANGHAI, "success"), 997.0, None),
        (hosts(SHANGHAI, "fail"), 3.0, exemplar),
        (Series("job_idc_records_total", (("idc", SHANGHAI), ("outcome", "degraded"))), 2.0, exemplar),
    ):
        counted[series] = Sample(value=value, born=old, exemplar=shown_by)
    counted[hosts(ODD, "fail")] = Sample(value=5.0, born=young, exemplar=exemplar, held_until=TIME + 50)
    return counted


def hosts(idc: str, status: str) -> Series:
    return Series("job_host_results_total", (("idc", idc), ("status", status)))


def process() -> ProcessMetrics:
    metrics = ProcessMetrics(version="1.2.3", python="3.11.7")
    metrics.request(endpoint="page", seconds=0.85, size=123_456, reason=None)
    metrics.request(endpoint="result", seconds=0.002, size=62, reason="api")
    metrics.poll_finished(ok=True, up=True, seconds=0.86, now=NOW - 5)
    metrics.state(
        pending_results=1,
        unreadable_records=2,
        catching_up=False,
        ledger_records=1234,
        leader=True,
        last_sweep=NOW - 600,
    )
    return metrics


def snapshot() -> Snapshot:
    """Give a series of every family."""
    doing, failed = (("execute_status", "doing"),), (("result_status", "fail"),)
    platform = {
        Series("job_records", (("execute_status", "init"),)): 0.0,
        Series("job_records", doing): 3.0,
        Series("job_records", (("execute_status", "done"),)): 1_234_562.0,
        Series("job_records_hidden"): 2.0,
        Series("job_records_overdue"): 1.0,
        Series("job_record_oldest_open_start_timestamp_seconds", doing): NOW - 7200,
        Series("job_record_last_finished_timestamp_seconds", failed): NOW - 300,
        Series("job_exporter_clock_skew_seconds"): -0.25,
    }
    own = process()
    return Snapshot(counters={**own.counters(), **ledger()}, gauges={**own.gauges(), **platform}, time=TIME)


@pytest.mark.parametrize("name", FILES)
def test_the_exposition_is_the_golden_one(name: str) -> None:
    """Names, HELP, buckets, order and escaping are those that were agreed on, to the byte."""
    assert shown(snapshot(), accept=FILES[name]) == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_golden_snapshot_has_every_family() -> None:
    """No family escapes the golden files, and the strict parser knows each by its type and HELP."""
    parsed = parse_openmetrics((GOLDEN / "metrics.openmetrics.txt").read_text(encoding="utf-8"))
    assert [(metric.type, metric.documentation) for metric in parsed] == [
        (str(family.type), family.help) for family in FAMILIES
    ]


@pytest.mark.parametrize("major", MAJORS)
def test_promtool_finds_nothing(major: int) -> None:
    """Prometheus' linter finds nothing wrong with the text format."""
    lint = subprocess.run(
        [program("promtool", major), "check", "metrics"],
        input=(GOLDEN / "metrics.txt").read_bytes(),
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")


if __name__ == "__main__":
    for file, accept in FILES.items():
        (GOLDEN / file).write_text(shown(snapshot(), accept=accept), encoding="utf-8")
