"""A real Prometheus and a real Alertmanager on free ports, and a webhook that listens for the test.

Their configurations are the ones of deploy/prometheus, changed in two ways only: time runs `factor` faster
(tests/rules/shorten.py), and the addresses are those of the test.
"""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.harness.server import running
from tests.rules.shorten import shorten_config, shorten_duration, shorten_rules
from tests.rules.tools import ROOT, program

_SHIPPED = ROOT / "deploy" / "prometheus"
_LOADING = 600.0  # seconds: a month takes half a minute on an idle machine
_LISTENING = r"[Ll]istening on.*address=(127\.0\.0\.1:\d+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One alert of one message that Alertmanager sent, and when it came (seconds of the monotonic clock)."""

    receiver: str
    status: str  # firing, resolved
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    at: float

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels["alertname"]


class Webhook:
    """Keeps what Alertmanager sends, in its order; safe to read while more comes."""

    def __init__(self) -> None:
        self.url = ""
        self._notices: list[Notice] = []
        self._news = threading.Condition()

    @property
    def notices(self) -> tuple[Notice, ...]:
        """All that came so far."""
        with self._news:
            return tuple(self._notices)

    def take(self, message: Mapping[str, Any]) -> None:
        """Keep the alerts of one message."""
        now = time.monotonic()
        with self._news:
            self._notices += [
                Notice(
                    receiver=message["receiver"],
                    status=alert["status"],
                    labels=alert["labels"],
                    annotations=alert["annotations"],
                    at=now,
                )
                for alert in message["alerts"]
            ]
            self._news.notify_all()

    def wait(self, wanted: Callable[[Notice], bool], *, within: float) -> Notice:
        """Give the first notice that is wanted, come or coming; AssertionError with all if none is."""

        def found() -> Notice | None:
            return next(filter(wanted, self._notices), None)

        with self._news:
            notice = self._news.wait_for(found, within)
        assert notice, [(notice.name, notice.status, notice.receiver) for notice in self.notices]
        return notice


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Listen for Alertmanager on a free port of the loopback; every path is taken."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.take(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing: the notices are what matters."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def alertmanager(folder: Path, hook: str, *, factor: float, major: int = 3) -> Iterator[str]:
    """Run Alertmanager with the shipped routes and inhibit rules, told to `hook`; give its address."""
    config = yaml.safe_load(shorten_config((_SHIPPED / "alertmanager.yml").read_text(), factor=factor))
    for receiver in config["receivers"]:
        # Those that nobody reads listen too, so that a test sees what would have been said.
        receiver["webhook_configs"] = [{"url": f"{hook}/{receiver['name']}", "send_resolved": True}]
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    command = (f"--config.file={path}", f"--storage.path={folder}/alertmanager", "--cluster.listen-address=")
    with _running(program("alertmanager", major), *command, folder=folder) as address:
        yield address


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is scraped: host:port, and the labels that its series get beside their own."""

    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def prometheus(
    folder: Path,
    targets: Mapping[str, Sequence[Target]],
    managers: Sequence[str],
    *,
    factor: float,
    rules: Mapping[str, str] | None = None,
    retention: str = "15d",
    major: int = 3,
    job: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """Run Prometheus with the shipped configuration and `rules` (file name → text); give its address.

    `targets` go by scrape job: a job of the file that is not among them is left out, one that is not in
    the file is added, with the settings of `job`. Without `rules` the shipped ones are taken, `factor`
    faster. What `remember` or `load` wrote into the same folder is its past, as far as `retention` keeps it.
    """
    config = yaml.safe_load(shorten_config((_SHIPPED / "prometheus.yml").read_text(), factor=factor))
    known = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [
        known.get(name, {"job_name": name, **(job or {})})
        | {"static_configs": [{"targets": [one.address], "labels": dict(one.labels)} for one in wanted]}
        for name, wanted in targets.items()
    ]
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": list(managers)}]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "rules").mkdir(exist_ok=True)
    for name, text in (shipped_rules(factor=factor) if rules is None else rules).items():
        (folder / "rules" / name).write_text(text, encoding="utf-8")
    command = (
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={_database(folder)}",
        f"--storage.tsdb.retention.time={retention}",
        # The two times that are flags; otherwise Alertmanager would hear late of what goes on.
        f"--rules.alert.resend-delay={shorten_duration('1m', factor)}",
        f"--query.lookback-delta={shorten_duration('5m', factor)}",
        "--enable-feature=exemplar-storage",
    )
    with _running(program("prometheus", major), *command, folder=folder) as address:
        yield address


def remember(folder: Path, samples: str, *, major: int = 3) -> None:
    """Give the Prometheus that will run in `folder` a past: `samples` in OpenMetrics with times."""
    path = folder / "past.txt"
    path.write_text(samples, encoding="utf-8")
    load(folder, path, major=major)


def load(folder: Path, path: Path, *, longest: str = "24h", major: int = 3) -> None:
    """Give the Prometheus of `folder` a file of OpenMetrics with times; no block is longer than `longest`."""
    into = ("openmetrics", str(path), str(_database(folder)))
    blocks = ("tsdb", "create-blocks-from", f"--max-block-duration={longest}", *into)
    command = [str(program("promtool", major)), *blocks]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_LOADING, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def _database(folder: Path) -> Path:
    return folder / "prometheus"


def shipped_rules(*, factor: float, thresholds: Mapping[str, float] | None = None) -> dict[str, str]:
    """Give the rule files of deploy/prometheus by name, `factor` faster, with `thresholds` set as wished."""
    files = sorted((_SHIPPED / "rules").glob("*.yml"))
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    constants = thresholds or {}
    return {
        name: shorten_rules(
            text, factor=factor, thresholds={key: value for key, value in constants.items() if key in text}
        )
        for name, text in texts.items()
    }


@contextmanager
def _running(path: Path, *arguments: str, folder: Path) -> Iterator[str]:
    """Run a server on a free port until the block ends, its log in `folder`; give its host:port."""
    command: list[str | Path] = [path, *arguments, "--web.listen-address=127.0.0.1:0"]
    # Alertmanager finds its default templates beside itself (.ci/tools says why).
    log = folder / f"{path.name}.log"
    with running(command, cwd=path.parent, log=log, ready=[_LISTENING]) as address:
        yield address
