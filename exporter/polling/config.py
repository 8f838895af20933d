"""What polling, and an audit of it, depend on: values out of several groups of settings."""

from dataclasses import dataclass, field

from exporter.discovery.pages import MAX_PAGE_SIZE
from exporter.metrics.families import buckets
from exporter.settings import Settings
from exporter.tracking.probing import Start
from exporter.tracking.values import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class PollConfig(Start):
    """Settings of polling; durations in seconds."""

    rules: Rules = field(default_factory=Rules)
    duty: float = 0.1  # share of the wall time that tail pages may take
    page_size: int = MAX_PAGE_SIZE
    retention: float = 30 * 86400.0

    @classmethod
    def of(cls, settings: Settings) -> "PollConfig":
        """Take the values from the settings."""
        poll = settings.poll
        return cls(
            rules=Rules(
                **poll.model_dump(include={"interval", "settle_grace", "overdue_grace"}),
                record_labels=settings.metrics.record_labels,
                buckets=buckets(settings.metrics),
            ),
            duty=settings.api.duty,
            page_size=settings.api.page_size,
            retention=settings.state.retention,
            **poll.model_dump(include={"recheck_interval", "sweep", "adopt", "history"}),
        )
