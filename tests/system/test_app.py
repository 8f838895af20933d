"""The composition root: settings become a daemon that serves, polls, reloads and stops."""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from exporter import app
from exporter.metrics.exposition import Exposition
from exporter.model import Snapshot
from exporter.polling.config import PollConfig
from exporter.settings import Settings, SettingsError, load
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.server import serve


def settings(*flags: str, folder: Path | None = None, base_url: str = "http://127.0.0.1:9") -> Settings:
    state = () if folder is None else (f"--state.url=sqlite:///{folder / 'ledger.db'}",)
    return load([f"--api.base-url={base_url}", "--web.listen-address=127.0.0.1:0", *state, *flags], {})


async def fetched(exporter: app.Exporter, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{exporter.web.ports[0]}{path}")


async def ready(exporter: app.Exporter, wanted: Callable[[httpx.Response], bool]) -> httpx.Response:
    """Ask until the answer is as wanted."""
    for _ in range(5000):
        answer = await fetched(exporter, "/-/ready")
        if wanted(answer):
            return answer
    raise TimeoutError


async def test_it_serves_what_it_polls_until_a_signal(tmp_path: Path) -> None:
    """All parts together, once; SIGHUP changes nothing without a web configuration, SIGTERM ends it."""
    seen: dict[str, Any] = {}

    async def look(exporter: app.Exporter) -> None:
        await ready(exporter, lambda answer: answer.status_code == 200)
        signal.raise_signal(signal.SIGHUP)
        seen["metrics"] = (await fetched(exporter, "/metrics")).text
        seen["page"] = (await fetched(exporter, "/")).text
        signal.raise_signal(signal.SIGTERM)

    async with await serve(SimulatorConfig(port=0, traffic=False, history=12)) as simulator:
        given = settings("--poll.history=all", folder=tmp_path, base_url=simulator.url)
        await app.run(given, started=look)
    finished = [
        line for line in seen["metrics"].splitlines() if line.startswith("job_records_finished_total")
    ]
    assert sum(float(line.split()[-1]) for line in finished) >= 0
    assert "job_exporter_platform_up 1" in seen["metrics"]
    assert 'job_records{execute_status="done"} 12' in seen["metrics"]
    assert simulator.url in seen["page"]


async def test_a_poll_that_hangs_is_told_by_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform answers a byte now and then, so nothing fails, but the numbers grow old."""
    seen: dict[str, Any] = {}

    async def look(exporter: app.Exporter) -> None:
        await ready(exporter, lambda answer: answer.status_code == 200)
        now = time.time()
        monkeypatch.setattr(exporter._landing, "_clock", lambda: now + 80.0)
        seen["ready"] = await ready(exporter, lambda answer: answer.status_code == 503)
        signal.raise_signal(signal.SIGTERM)

    async with await serve(SimulatorConfig(port=0, traffic=False, history=12)) as simulator:
        await app.run(settings(folder=tmp_path, base_url=simulator.url), started=look)
    assert seen["ready"].text == "not ready: no poll has succeeded for a while\n"


async def test_a_platform_that_is_away_is_told_by_ready(tmp_path: Path) -> None:
    """It serves all the same, and says what is wrong."""
    seen: dict[str, Any] = {}

    async def look(exporter: app.Exporter) -> None:
        seen["ready"] = await ready(exporter, lambda answer: "first poll" not in answer.text)
        seen["healthy"] = await fetched(exporter, "/-/healthy")
        signal.raise_signal(signal.SIGINT)

    await app.run(settings("--api.retries=0", folder=tmp_path), started=look)
    assert seen["ready"].status_code == 503
    assert "127.0.0.1:9" in seen["ready"].text or "connect" in seen["ready"].text.lower()
    assert seen["healthy"].status_code == 200


async def test_what_a_change_of_settings_did_to_the_ledger_is_said(tmp_path: Path) -> None:
    """Rule 8: in the log, at the next start."""

    async def end(_: app.Exporter) -> None:
        signal.raise_signal(signal.SIGTERM)

    await app.run(settings(folder=tmp_path), started=end)
    with capture_logs() as lines:
        await app.run(settings("--metrics.duration-buckets=1,2,3", folder=tmp_path), started=end)
    notes = [line["note"] for line in lines if line["event"] == "ledger changed"]
    assert notes == ["buckets of job_record_duration_seconds changed: that histogram starts anew"]
    assert [line["event"] for line in lines][-1] == "stopped"


def test_without_a_platform_nothing_is_opened(tmp_path: Path) -> None:
    """The error names the setting, and no ledger is made."""
    with pytest.raises(SettingsError, match=r"api\.base-url"):
        app.Exporter(load([f"--state.url=sqlite:///{tmp_path / 'ledger.db'}"], {}))
    assert [*tmp_path.iterdir()] == []


def test_settings_reach_the_poller() -> None:
    """Each of them."""
    config = PollConfig.of(
        settings(
            "--poll.interval=5s",
            "--poll.recheck-interval=7m",
            "--poll.sweep=2h",
            "--poll.adopt=9",
            "--poll.history=24h",
            "--poll.settle-grace=3s",
            "--poll.overdue-grace=4s",
            "--api.duty=0.2",
            "--api.page-size=11",
            "--state.retention=2d",
            "--metrics.record-labels=provider",
            "--metrics.duration-buckets=1,5",
        )
    )
    rules = config.rules
    assert (rules.interval, rules.settle_grace, rules.overdue_grace) == (5, 3, 4)
    assert (rules.record_labels, rules.buckets.duration) == (("provider",), (1, 5))
    assert (config.recheck_interval, config.sweep, config.adopt, config.history) == (420, 7_200, 9, 86_400)
    assert (config.duty, config.page_size, config.retention) == (0.2, 11, 172_800)
    assert PollConfig.of(settings("--poll.history=all")).history is None
    assert PollConfig.of(settings()) == PollConfig(rules=PollConfig.of(settings()).rules)


async def test_metrics_that_cannot_be_shown_are_told_by_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polls go on and are good, but the exporter is not ready: scrapes show how things were."""
    seen: dict[str, Any] = {}
    real, faulty = Exposition.show, [True]

    def show(exposition: Exposition, snapshot: Snapshot, **options: Any) -> None:
        if faulty[0] and snapshot.version > 1:
            raise RuntimeError("a secret of the exporter")
        real(exposition, snapshot, **options)

    async def look(exporter: app.Exporter) -> None:
        seen["ready"] = await ready(exporter, lambda answer: "first poll" not in answer.text)
        faulty[0] = False
        seen["later"] = await ready(exporter, lambda answer: answer.status_code == 200)
        seen["metrics"] = (await fetched(exporter, "/metrics")).text
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Exposition, "show", show)
    async with await serve(SimulatorConfig(port=0, traffic=False, history=3)) as simulator:
        given = settings("--poll.interval=1s", folder=tmp_path, base_url=simulator.url)
        await app.run(given, started=look)
    assert seen["ready"].status_code == 503
    assert seen["ready"].text == "not ready: the newest metrics could not be shown: RuntimeError\n"
    assert "job_exporter_platform_up 1" in seen["metrics"]


async def test_ready_means_that_a_scrape_shows_the_first_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first poll's snapshot is being rendered the exporter is not ready yet."""
    seen: dict[str, Any] = {}
    real, may_go_on = Exposition.show, threading.Event()

    def show(exposition: Exposition, snapshot: Snapshot, **options: Any) -> None:
        if snapshot.version > 1:
            assert may_go_on.wait(timeout=30)
        real(exposition, snapshot, **options)

    async def look(exporter: app.Exporter) -> None:
        seen["ready"] = await ready(exporter, lambda answer: "not shown" in answer.text)
        seen["before"] = (await fetched(exporter, "/metrics")).text
        may_go_on.set()
        await ready(exporter, lambda answer: answer.status_code == 200)
        seen["after"] = (await fetched(exporter, "/metrics")).text
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Exposition, "show", show)
    async with await serve(SimulatorConfig(port=0, traffic=False, history=3)) as simulator:
        await app.run(settings(folder=tmp_path, base_url=simulator.url), started=look)
    assert seen["ready"].status_code == 503
    assert "job_exporter_platform_up 0" in seen["before"]
    assert "job_exporter_platform_up 1" in seen["after"]
