"""The series of the ledger, and the buckets of its histograms, from the settings."""

from exporter.ledger.layout import Layout
from exporter.metrics.families import HOST_BUCKETS, LAG_BUCKETS, Origin, families, initial_series, siblings
from exporter.settings import MetricsSettings
from exporter.tracking.counting import Buckets


def layout(settings: MetricsSettings) -> Layout:
    """The series that the ledger holds."""
    ours = (family for family in families(settings) if family.origin is Origin.LEDGER)
    return Layout(
        initial=initial_series(settings),
        siblings=siblings,
        record_labels=settings.record_labels,
        buckets={family.name: family.buckets for family in ours if family.buckets},
        label_limit=settings.label_limit,
        zero_hold=settings.zero_hold,
    )


def buckets(settings: MetricsSettings) -> Buckets:
    """The bucket bounds of all histograms of records."""
    return Buckets(duration=settings.duration_buckets, hosts=HOST_BUCKETS, lag=LAG_BUCKETS)
