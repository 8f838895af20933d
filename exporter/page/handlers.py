"""The page at `/` and its failures as JSON, from what is at hand: no request waits for poll or ledger."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporter.model import FailedRecord, Snapshot
from exporter.page import sections
from exporter.page.data import Health, Kept, PageData, gathered, newest_first
from exporter.page.document import document, stylesheet
from exporter.page.format import clock, iso
from exporter.page.markup import el, join
from exporter.page.sections import Site, record_link
from exporter.web.server import Page

# Only a page that will not stay as it is comes again by itself: one that is read must not jump.
REFRESH: Mapping[Health, int] = {Health.STARTING: 5, Health.CATCHING_UP: 15}  # seconds


class Landing:
    """Shows the last published snapshot; made at most once a second, however many ask."""

    def __init__(
        self,
        site: Site,
        *,
        kept: Callable[[], Kept],
        error: Callable[[], str | None],
        clock: Callable[[], float],
    ) -> None:
        """`kept` and `error` answer from memory: the ledger's state, and why the last poll was no good."""
        self._site, self._kept, self._error, self._clock = site, kept, error, clock
        self._snapshot = Snapshot()
        self._made: tuple[object, Page] | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Show `snapshot` from now on."""
        self._snapshot = snapshot

    def page(self) -> Page:
        """Give the page."""
        now, error = self._clock(), self._error()
        key = (int(now), error, self._snapshot.version)
        if self._made is None or self._made[0] != key:
            data = gathered(self._snapshot, self._kept(), error=error, interval=self._site.interval, now=now)
            self._made = key, page(data, self._site)
        return self._made[1]

    def failures(self) -> str:
        """Give the recent failures as JSON: see `failures_json`."""
        failures = newest_first(self._kept().failures, now=self._clock())
        return failures_json(failures, self._site.record_url)


def page(data: PageData, site: Site) -> Page:
    """Make the page of these facts."""
    main = el(
        "main",
        sections.status(data),
        sections.platform(data),
        sections.results(data),
        sections.idcs(data),
        sections.failures(data, site),
    )
    made = el("footer", "All times are UTC. This page is of ", clock(data.now, now=data.now), ".")
    return document(
        title=f"{sections.STATES[data.health][0]} – job-exporter",
        style=stylesheet(),
        body=join(sections.header(site), main, made),
        refresh=REFRESH.get(data.health),
    )


def failures_json(failures: Sequence[FailedRecord], record_url: str) -> str:
    """Write failures as `{"failures": […]}`, the newest first; names are stable, further ones may come.

    Each has `id`, `result` (fail, timeout, cancelled, unknown), `finished` (RFC 3339, UTC),
    `duration_seconds`, `url` (by `web.record-url`) and `idcs`: `idc`, `failed` and `hosts`, numbers of
    hosts that did not succeed and of all. What is not known is null; `idcs` is then empty.
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

    # ASCII: a name may hold half a character, which no UTF-8 can carry.
    return json.dumps({"failures": [line(item) for item in failures]}, ensure_ascii=True) + "\n"
