"""The composition root: builds all parts from the settings, starts them, and stops them.

On SIGTERM or SIGINT, the poll in flight commits the answers it has; the process ends within two seconds.
"""

import asyncio
import contextlib
import gc
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import structlog

from exporter import __version__
from exporter.jobapi.client import JobApi
from exporter.jobapi.json_filter import WHOLE
from exporter.jobapi.transport import ApiConfig
from exporter.ledger.ledger import Layout, Ledger
from exporter.metrics.exposition import Exposition, Scrape
from exporter.metrics.families import (
    HOST_BUCKETS,
    LAG_BUCKETS,
    MetricsConfig,
    families,
    initial_series,
    siblings,
)
from exporter.metrics.process import ProcessMetrics
from exporter.metrics.publisher import Publisher
from exporter.model import Snapshot
from exporter.page.data import Site
from exporter.page.handlers import Landing, routes
from exporter.page.render import render_reference
from exporter.polling.poller import PollConfig, Poller
from exporter.polling.replica import Replica, lease_of
from exporter.polling.schedule import Timer
from exporter.settings import Settings
from exporter.tracking.counting import Buckets
from exporter.tracking.values import Rules
from exporter.web.server import Web

STOP_GRACE = 1.5  # seconds for the poll in flight to commit; the whole stop takes two

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Exporter:
    """The daemon: one platform, one ledger, one timer, one web server."""

    def __init__(self, settings: Settings) -> None:
        """Open everything that can fail. Raises SettingsError, ConfigError, LedgerError, WebError."""
        base_url = settings.require_platform()
        self._settings = settings
        metrics = metrics_config(settings)
        self._exposition = Exposition(config=metrics)
        self._publisher = Publisher(self._exposition)
        self._awaited: int | None = None  # version of the first snapshot after a successful poll
        self._process = ProcessMetrics(version=__version__, python=platform.python_version())
        site = site_of(settings, base_url)
        self._landing = Landing(site, kept=lambda: self._ledger.state, error=self._error, clock=time.time)
        self._web = Web(
            settings.web,
            scrape=self._scrape,
            ready=self._not_ready,
            landing=self._landing.page,
            routes=routes(self._landing, render_reference(families(metrics), site)),
        )
        self._api = JobApi(api_config(settings, base_url), self._process)
        self._ledger = Ledger(
            settings.state.url.get_secret_value(),
            platform=base_url,
            now=time.time(),
            layout=layout(
                metrics, label_limit=settings.metrics.label_limit, zero_hold=settings.metrics.zero_hold
            ),
            lease=lease_of(settings.poll.interval),
        )
        self._poller = Poller(
            api=self._api,
            ledger=self._ledger,
            config=poll_config(settings),
            process=self._process,
            publish=self._publish,
        )
        self._replica: Replica | None = None
        self._following: asyncio.Task[None] | None = None
        if self._ledger.shared:
            self._replica = Replica(ledger=self._ledger, poller=self._poller, interval=settings.poll.interval)
        self.comparing = False  # a thread, which cannot be stopped, still compares a password
        self._timer = Timer(self._poller.poll, interval=settings.poll.interval)
        self._releases = Timer(self._poller.release, interval=1.0)
        for note in self._ledger.notes:
            log.warning("ledger changed", note=note)

    async def start(self) -> None:
        """Start serving and polling. Raises WebError."""
        self._poller.publish()
        await self._publisher.show()  # show the ledger's counters before the first scrape
        await self._web.start()
        self._publisher.start()
        self._timer.start()
        self._releases.start()
        if self._replica is not None:
            self._following = asyncio.create_task(self._replica.run())
            self._following.add_done_callback(_tell_fault)
        role = "polling" if self._ledger.leads else "following"
        log.info(role, platform=self._settings.api.base_url, version=__version__)

    async def stop(self) -> bool:
        """Let the poll in flight commit its answers, then stop everything.

        False: the poll did not end in time. Only the database can cause this; its thread cannot be stopped.
        """
        self._timer.stop()
        self._releases.stop()
        self._poller.stop()
        self._publisher.stop()
        # Concurrently: one after the other may take too long.
        ended, self.comparing = await asyncio.gather(self._poll_ended(), self._web_busy())
        if self._replica is not None and self._following is not None:
            self._following.cancel()
        if ended:
            if self._replica is not None:
                await self._replica.hand_over()
            self._ledger.close()
            ended = self._replica is None or await self._replica.ended()
        await self._api.aclose()
        return ended

    async def _web_busy(self) -> bool:
        return not await self._web.stop()

    async def _poll_ended(self) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._poller.idle(), STOP_GRACE)
            return True
        return False

    def reload(self) -> None:
        """Reload the users and certificates of the web server."""
        self._web.reload()

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of the web server."""
        return self._web.ports

    def _scrape(self, accept: str, accept_encoding: str) -> Scrape:
        return self._exposition.scrape(accept=accept, accept_encoding=accept_encoding)

    def _publish(self, snapshot: Snapshot) -> None:
        self._publisher.publish(snapshot)
        self._landing.publish(snapshot)
        if self._awaited is None and self._polling_error() is None:
            self._awaited = self._publisher.published

    def _error(self) -> str | None:
        """Why the shown data may be stale; None: it is current."""
        trouble = self._replica.trouble if self._replica else None
        return self._publisher.trouble or trouble or self._poller.last_error

    def _not_ready(self) -> str | None:
        """Why the exporter is not ready; None: the first successful poll is shown and the data is current."""
        error = self._publisher.trouble or self._polling_error()
        if error is None and (self._awaited is None or self._publisher.shown < self._awaited):
            return "the first poll is not shown yet"
        return error

    def _polling_error(self) -> str | None:
        """The polling error. A follower is ready once it has data, even if the leader's polls fail."""
        trouble = self._replica.trouble if self._replica else None
        if self._ledger.follows and self._ledger.leader_status is not None:
            return trouble
        return trouble or self._poller.last_error


def _tell_fault(task: asyncio.Task[None]) -> None:
    """Log the error that ended the replica loop; another replica leads or will lead."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the replica loop stopped because of a bug in the exporter", exc_info=error)


def tune_for_latency() -> None:
    """Reduce the time that a poll blocks scrapes. Call this after everything is loaded."""
    # Objects loaded now stay. A garbage collection that visits them takes longer than a scrape.
    gc.collect()
    gc.freeze()
    # A committing thread yields ten times as often as by default and loses a few percent of its speed.
    sys.setswitchinterval(0.0005)


def keep_freed_memory() -> None:
    """Make glibc keep the memory of one response body for the next.

    Allocating it again costs a third of the CPU time of a large record. glibc keeps up to twice the largest
    block freed so far, if that block was below 32 MB.
    """
    bytes(4 * WHOLE)


async def run(settings: Settings, *, started: Callable[[Exporter], Awaitable[None]] | None = None) -> None:
    """Run until SIGTERM or Ctrl-C; `started` is called once the web server serves."""
    exporter = Exporter(settings)
    tune_for_latency()
    keep_freed_memory()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, exporter.reload)
    try:
        await exporter.start()
        if started is not None:
            await started(exporter)
        await stopping.wait()
    finally:
        ended = await exporter.stop()
    if not ended:
        log.warning("ledger busy at shutdown; uncommitted work is repeated at the next start")
        os._exit(0)  # do not wait for the thread; the database rolls back an interrupted commit
    log.info("stopped")  # not after a failed start: its only line is the error
    if exporter.comparing:
        os._exit(0)  # do not wait for the thread; comparing an expensive hash takes minutes


def api_config(settings: Settings, base_url: str) -> ApiConfig:
    """The API client's configuration, from the settings."""
    api = settings.api
    return ApiConfig(
        base_url=base_url,
        username=api.username,
        password=api.password,
        password_file=api.password_file,
        token_file=api.token_file,
        headers=dict(api.headers),
        ca_file=api.ca_file,
        cert_file=api.cert_file,
        key_file=api.key_file,
        proxy_url=api.proxy_url,
        timeout=api.timeout,
        concurrency=api.concurrency,
        max_response_bytes=api.max_response_bytes,
        retries=api.retries,
        zone=api.timezone,
    )


def poll_config(settings: Settings) -> PollConfig:
    """The poller's configuration, from the settings."""
    poll = settings.poll
    metrics = metrics_config(settings)
    return PollConfig(
        rules=Rules(
            interval=poll.interval,
            settle_grace=poll.settle_grace,
            overdue_grace=poll.overdue_grace,
            record_labels=metrics.record_labels,
            buckets=buckets(metrics),
        ),
        recheck_interval=poll.recheck_interval,
        sweep=poll.sweep,
        adopt=poll.adopt,
        history=None if math.isinf(poll.history) else poll.history,
        duty=settings.api.duty,
        page_size=settings.api.page_size,
        retention=settings.state.retention,
    )


def metrics_config(settings: Settings) -> MetricsConfig:
    """The configuration of the metrics, from the settings."""
    return MetricsConfig(
        record_labels=settings.metrics.record_labels, duration_buckets=settings.metrics.duration_buckets
    )


def buckets(metrics: MetricsConfig) -> Buckets:
    """The bucket bounds of all histograms of records."""
    return Buckets(duration=metrics.duration_buckets, hosts=HOST_BUCKETS, lag=LAG_BUCKETS)


def site_of(settings: Settings, base_url: str) -> Site:
    """The constant data shown on the page."""
    return Site(
        version=__version__,
        platform=base_url,
        telemetry_path=settings.web.telemetry_path,
        record_url=settings.web.record_url,
        interval=settings.poll.interval,
        sweeps=settings.poll.sweep > 0,
    )


def layout(metrics: MetricsConfig, *, label_limit: int, zero_hold: float = 0.0) -> Layout:
    """The series that the ledger holds."""
    return Layout(
        initial=initial_series(metrics),
        siblings=siblings,
        record_labels=metrics.record_labels,
        buckets={
            "job_record_duration_seconds": metrics.duration_buckets,
            "job_record_hosts": HOST_BUCKETS,
            "job_exporter_count_lag_seconds": LAG_BUCKETS,
        },
        label_limit=label_limit,
        zero_hold=zero_hold,
    )
