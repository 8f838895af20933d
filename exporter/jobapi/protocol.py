"""The job API as polls, audit and backfill use it."""

from typing import Protocol

from exporter.jobapi.client import PageCost
from exporter.model import Page, Record, Results

GONE = ("connect", "auth")  # reasons that are never the fault of one record


class Platform(Protocol):
    """The client of the job API; its three requests may raise ApiError."""

    def platform_now(self) -> float | None:
        """Return the platform's clock, POSIX seconds, independent of ours; None: not known yet."""
        ...

    async def page(  # noqa: D102
        self, number: int, size: int, *, patient: bool = True, retry: bool = True
    ) -> tuple[Page, PageCost]: ...
    async def record(self, record_id: str) -> Record: ...  # noqa: D102
    async def results(self, record_id: str) -> Results: ...  # noqa: D102
