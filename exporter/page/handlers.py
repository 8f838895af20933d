"""The handlers of the page and its JSON. No request waits for a poll or for the ledger."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from aiohttp import web

from exporter.model import FailedRecord, Snapshot
from exporter.page.data import Backlog, Health, Pace, PageData, backlog
from exporter.page.format import iso, record_link
from exporter.page.render import policy, render_page
from exporter.settings import Settings
from exporter.tracking.state import State
from exporter.web.server import Route


class Landing:
    """Shows the last published snapshot; the page is rendered at most once a second."""

    def __init__(
        self,
        settings: Settings,
        *,
        state: Callable[[], State],
        error: Callable[[], str | None],
        clock: Callable[[], float],
    ) -> None:
        """`state` returns the ledger's state, `error` why the last poll failed; both answer from memory."""
        self._settings, self._state, self._error, self._clock = settings, state, error, clock
        self._snapshot = Snapshot()
        self._pace = Pace()
        self._rendered: tuple[object, str] | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Show `snapshot` from now on."""
        self._snapshot = snapshot
        data = self._data()
        self._pace.add(data.backlog.records if data.backlog else 0, now=data.now)

    def page(self) -> str:
        """Return the page as HTML."""
        key = (int(self._clock()), self._error(), self._snapshot.version)
        if self._rendered is None or self._rendered[0] != key:
            self._rendered = key, render_page(self._data(), self._settings)
        return self._rendered[1]

    @property
    def is_stale(self) -> bool:
        """Whether no poll has succeeded for a while, though none has failed: one may hang."""
        return self._data().health is Health.STALE

    def failures(self) -> str:
        """Return the recent failures as JSON."""
        return failures_json(self._data().failures, self._settings.web.record_url)

    def _data(self) -> PageData:
        data = PageData(
            snapshot=self._snapshot,
            state=self._state(),
            error=self._error(),
            interval=self._settings.poll.interval,
            now=self._clock(),
        )
        return replace(data, backlog=self._backlog(data.state)) if data.catches_up else data

    def _backlog(self, state: State) -> Backlog:
        left = backlog(state.tail, state.followed, now=state.time)
        return left if left.at_most else replace(left, seconds=self._pace.seconds(left.records))


def routes(landing: Landing, reference: str) -> Mapping[str, Route]:
    """Return the handlers of `/`, `/api/failures` and `/reference`, which is the given HTML."""

    async def serve_page(_request: web.BaseRequest) -> web.Response:
        return _html(landing.page())

    async def serve_failures(_request: web.BaseRequest) -> web.Response:
        return web.Response(text=landing.failures(), content_type="application/json")

    async def serve_reference(_request: web.BaseRequest) -> web.Response:
        return _html(reference)

    return {"/": serve_page, "/api/failures": serve_failures, "/reference": serve_reference}


def _html(page: str) -> web.Response:
    return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": policy()})


def failures_json(failures: Sequence[FailedRecord], record_url: str) -> str:
    """Write failures as `{"failures": […]}`. Names are stable; more may be added.

    `result` is fail, timeout, cancelled or unknown; `finished` is RFC 3339, UTC; `failed` are the hosts that
    did not succeed. Unknown values are null, or an empty `idcs`.
    """
    items = [
        {
            "id": item.id,
            "result": str(item.result),
            "finished": iso(item.finished),
            "duration_seconds": item.duration,
            "url": record_link(record_url, item.id),
            "idcs": [{"idc": one.idc, "failed": one.failed, "hosts": one.hosts} for one in item.idcs],
        }
        for item in failures
    ]
    # ASCII, because a name may have a lone surrogate, which UTF-8 cannot encode.
    return json.dumps({"failures": items}, ensure_ascii=True) + "\n"
