"""Metrics that rules and dashboards use already, as long as the exporter's catalog lacks them."""

from exporter.metrics.families import FAMILIES, Family, MetricType, Origin

_DESIGNED = (
    Family(
        name="job_records_hidden",
        type=MetricType.GAUGE,
        help="Records that the platform's total counts and no page shows.",
        origin=Origin.PLATFORM,
    ),
    Family(
        name="job_exporter_unreadable_records",
        type=MetricType.GAUGE,
        help="Records or positions that can't be read now.",
        origin=Origin.PROCESS,
    ),
    Family(
        name="job_exporter_records_late_total",
        type=MetricType.COUNTER,
        help="Records that only the sweep found.",
        origin=Origin.LEDGER,
    ),
    Family(
        name="job_exporter_last_sweep_timestamp_seconds",
        type=MetricType.GAUGE,
        help="End of the last whole sweep, in seconds since the Unix epoch.",
        origin=Origin.PROCESS,
    ),
)
_NAMES = {family.name for family in FAMILIES}
PLANNED = tuple(family for family in _DESIGNED if family.name not in _NAMES)
CATALOG = (*FAMILIES, *PLANNED)
