"""A real Prometheus for the tests of the dashboards."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.harness.server import running as running_server
from tests.rules.tools import program


@contextmanager
def running(folder: Path, major: int, config: Mapping[str, object]) -> Iterator[str]:
    """Run a Prometheus with its data in `folder`/data; give its address when it is ready."""
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    command: list[str | Path] = [
        program("prometheus", major),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=100y",
        "--enable-feature=exemplar-storage",
        "--web.listen-address=127.0.0.1:0",
    ]
    ready = (r"address=(127\.0\.0\.1:[1-9]\d*)", "Server is ready to receive web requests")
    with running_server(command, cwd=folder, log=folder / "prometheus.log", ready=ready) as address:
        yield f"http://{address}"
