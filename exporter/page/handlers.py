"""The handlers of the page and its JSON. No request waits for a poll or for the ledger."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from exporter.model import FailedRecord, Snapshot
from exporter.page.data import Site, catches_up, gathered, newest_first
from exporter.page.format import iso, record_link
from exporter.page.progress import Backlog, Pace, backlog
from exporter.page.render import render_page
from exporter.tracking.state import State
from exporter.web.server import Page, Route


class Landing:
    """Shows the last published snapshot; the page is rendered at most once a second."""

    def __init__(
        self,
        site: Site,
        *,
        kept: Callable[[], State],
        error: Callable[[], str | None],
        clock: Callable[[], float],
    ) -> None:
        """`kept` returns the ledger's state, `error` why the last poll failed; both answer from memory."""
        self._site, self._kept, self._error, self._clock = site, kept, error, clock
        self._snapshot = Snapshot()
        self._pace = Pace()
        self._made: tuple[object, Page] | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Show `snapshot` from now on."""
        self._snapshot = snapshot
        left = self._backlog()
        self._pace.saw(left.records if left else 0, now=self._clock())

    def page(self) -> Page:
        """Return the page."""
        now, error = self._clock(), self._error()
        key = (int(now), error, self._snapshot.version)
        if self._made is None or self._made[0] != key:
            left = self._backlog()
            if left and not left.at_most:
                left = replace(left, seconds=self._pace.seconds(left.records))
            data = gathered(
                self._snapshot,
                self._kept(),
                error=error,
                interval=self._site.interval,
                now=now,
                backlog=left,
            )
            self._made = key, render_page(data, self._site)
        return self._made[1]

    def failures(self) -> str:
        """Return the recent failures as JSON."""
        failures = newest_first(self._kept().failures, now=self._clock())
        return failures_json(failures, self._site.record_url)

    def _backlog(self) -> Backlog | None:
        if not catches_up(self._snapshot):
            return None
        kept = self._kept()
        return backlog(kept.tail, kept.followed, now=kept.time)


def routes(landing: Landing, reference: Page) -> Mapping[str, Route]:
    """Return the handlers of `/api/failures` and `/reference`."""

    async def failures(_request: web.BaseRequest) -> web.Response:
        return web.Response(text=landing.failures(), content_type="application/json")

    async def serve_reference(_request: web.BaseRequest) -> web.Response:
        policy = {"Content-Security-Policy": reference.policy}
        return web.Response(text=reference.html, content_type="text/html", headers=policy)

    return {"/api/failures": failures, "/reference": serve_reference}


def failures_json(failures: Sequence[FailedRecord], record_url: str) -> str:
    """Write failures as `{"failures": […]}`. Names are stable; more may be added.

    `result` is fail, timeout, cancelled or unknown; `finished` is RFC 3339, UTC; `failed` are the hosts that
    did not succeed. Unknown values are null, or an empty `idcs`.
    """

    def line(item: FailedRecord) -> dict[str, Any]:
        return {
            "id": item.id,
            "result": str(item.result),
            "finished": iso(item.finished),
            "duration_seconds": item.duration,
            "url": record_link(record_url, item.id),
            "idcs": [{"idc": one.idc, "failed": one.failed, "hosts": one.hosts} for one in item.idcs],
        }

    # ASCII, because a name may have a lone surrogate, which UTF-8 cannot encode.
    return json.dumps({"failures": [line(item) for item in failures]}, ensure_ascii=True) + "\n"
