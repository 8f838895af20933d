"""A real Prometheus for the tests of the dashboards."""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.rules.tools import program


@contextmanager
def running(folder: Path, major: int, config: Mapping[str, object]) -> Iterator[str]:
    """Run a Prometheus with its data in `folder`/data; give its address when it is ready."""
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    command = [
        str(program("prometheus", major)),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=100y",
        "--enable-feature=exemplar-storage",
        "--web.listen-address=127.0.0.1:0",
    ]
    with (
        (folder / "prometheus.log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr
        try:
            yield _address(process.stderr)
        finally:
            process.terminate()
            log.write(process.stderr.read())  # to its end: a full pipe would keep it from stopping


def _address(log: Iterable[str]) -> str:
    port = ""
    for line in log:
        if match := re.search(r"address=127\.0\.0\.1:([1-9]\d*)", line):
            port = match[1]
        if port and "Server is ready to receive web requests" in line:
            return f"http://127.0.0.1:{port}"
    raise AssertionError("Prometheus stopped before it was ready")
