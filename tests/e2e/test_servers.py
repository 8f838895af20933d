"""The harness itself: an alert goes from a real Prometheus over a real Alertmanager to the test, and back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.servers import Target, alertmanager, prometheus, webhook
from tests.rules.tools import MAJORS

RULES = """
groups:
  - name: harness
    interval: 100ms
    rules:
      - alert: TargetDown
        expr: up{job="target"} == 0
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.instance }} is down"}
"""


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer with one metric."""
        body = b"harness 1\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def target(port: int = 0) -> Iterator[int]:
    """Serve a metric on the loopback; give the port."""
    with ThreadingHTTPServer(("127.0.0.1", port), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.servers
@pytest.mark.parametrize("major", MAJORS)
def test_an_alert_fires_and_resolves(major: int, tmp_path: Path) -> None:
    """A target that goes away is told to the pager's webhook with its texts, and its return too."""
    with target() as port:
        pass
    with (
        webhook() as hook,
        alertmanager(tmp_path, hook.url, factor=100, major=major) as manager,
        prometheus(
            tmp_path,
            {"target": [Target(address=f"127.0.0.1:{port}")]},
            [manager],
            factor=60,
            rules={"harness.yml": RULES},
            major=major,
        ),
    ):
        fired = hook.wait(lambda notice: notice.status == "firing", within=20)
        assert (fired.name, fired.receiver) == ("TargetDown", "pager")
        assert fired.annotations["summary"] == f"127.0.0.1:{port} is down"
        with target(port):
            resolved = hook.wait(lambda notice: notice.status == "resolved", within=20)
            assert resolved.labels == fired.labels


@pytest.mark.servers
def test_the_shipped_rules_run(tmp_path: Path) -> None:
    """With the shipped rules, 60 times faster, a platform without an exporter pages that it is down."""
    with (
        webhook() as hook,
        alertmanager(tmp_path, hook.url, factor=60) as manager,
        prometheus(tmp_path, {"job-exporter": [Target(address="127.0.0.1:1")]}, [manager], factor=60),
    ):
        fired = hook.wait(lambda notice: notice.status == "firing", within=20)
    assert (fired.name, fired.receiver) == ("JobExporterDown", "pager")
    assert fired.annotations["runbook_url"] == "docs/alerts.md#jobexporterdown"
    assert {notice.name for notice in hook.notices} == {"JobExporterDown"}
