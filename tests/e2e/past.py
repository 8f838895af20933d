"""The healthy days before the scenarios, for Prometheus to remember: without them a bad minute would be all
that the budgets of hours and days know.
"""

from collections.abc import Iterable, Iterator, Mapping

from exporter.simulator.scenarios import IDC_SIZES

DAYS = 3 * 86_400  # seconds: the longest window of the rules
STEP = 900  # seconds between two samples, before they are divided
FAILING = 0.01  # share of records and hosts: well within the objective
HOSTS = 10  # of a record, about

_Series = tuple[str, dict[str, str], float]  # family, labels, its rise in a second


def healthy_days(targets: Iterable[Mapping[str, str]], *, rate: float, factor: float, until: float) -> str:
    """Give three days (divided by `factor`) up to `until` (POSIX seconds) in OpenMetrics.

    Each target, by its labels, finishes `rate` records a second of the divided time.
    """
    wanted = list(targets)
    families: dict[str, list[_Series]] = {}
    for series in _series(rate):
        families.setdefault(series[0], []).append(series)
    times = [until - (DAYS - passed) / factor for passed in range(0, DAYS, STEP)]
    lines: list[str] = []
    for family, members in families.items():
        lines.append(f"# TYPE {family} counter")
        for target in wanted:
            for _, labels, rise in members:
                text = ",".join(f'{name}="{value}"' for name, value in {**target, **labels}.items())
                start = times[0]
                lines += [f"{family}_total{{{text}}} {rise * (at - start):.3f} {at:.3f}" for at in times]
    return "\n".join([*lines, "# EOF", ""])


def _series(rate: float) -> Iterator[_Series]:
    yield "job_records_discovered", {}, rate
    for ending, share in (("success", 1 - FAILING), ("fail", FAILING)):
        labels = {"result_status": ending, "provider": "salt", "script_type": "bash"}
        yield "job_records_finished", labels, rate * share
        for idc in IDC_SIZES:
            hosts = rate * HOSTS / len(IDC_SIZES)
            yield "job_host_results", {"idc": idc, "status": ending}, hosts * share
    for idc in IDC_SIZES:
        yield "job_idc_records", {"idc": idc, "outcome": "clean"}, rate / len(IDC_SIZES)
