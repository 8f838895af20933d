"""What a poll, an audit and a backfill ask of the job API, and which of its failures mean what."""

from typing import Protocol

from exporter.jobapi.client import PageCost
from exporter.model import Page, Record, Results

GONE = ("connect", "auth")  # reasons that are never one record's fault
UNREAD = ("decode", "api", "too_large")  # reasons that may be one record's fault, for ever


class Platform(Protocol):
    """What a poll asks of the job API; all may raise ApiError."""

    def platform_now(self) -> float | None:
        """Platform's clock, POSIX seconds, whatever happens to ours; None: not known yet."""
        ...

    async def page(  # noqa: D102
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]: ...
    async def record(self, record_id: str) -> Record: ...  # noqa: D102
    async def results(self, record_id: str) -> Results: ...  # noqa: D102
