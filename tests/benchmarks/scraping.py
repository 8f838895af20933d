"""Latency of scrapes while a poll settles at full speed, beside the servers that one would take instead."""

import http.client
import socket
import subprocess
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.benchmarks.children import canned, child, free_port, heard
from tests.benchmarks.figures import Figure, Section, at_least, at_most, plain
from tests.benchmarks.measuring import median, percentile

SERVING = ("-m", "tests.benchmarks.serving")
SIZES = ((1000, 200), (10_000, 400), (100_000, 40))  # series, scrapes
CLIENT_SCRAPES = {1000: 40, 10_000: 15, 100_000: 4}
RECORDS = 60_000  # twice as many as settle while we scrape
PAUSE = 0.02  # seconds between two scrapes: more often than any real scraper, less than all the time
RUNDECK = "rundeck-exporter==4.1.1"
RUNS = (5000, 20_000)
RUNDECK_AIM = 200.0
CONTROL_AIM, CLIENT_AIM = 2.0, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrapes:
    """Latencies, seconds, and CPU seconds of the server for each."""

    latencies: list[float]
    cpu: float
    size: int  # bytes of the last body

    @property
    def text(self) -> str:
        """Latencies for people."""
        p50, p99 = (percentile(self.latencies, share) * 1e3 for share in (50, 99))
        return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


def scrape(port: int, times: int, *, encoding: str = "identity", pid: int, timeout: float = 300.0) -> Scrapes:
    """Scrape over one connection, as Prometheus does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.sock = _as_over_ethernet(port, timeout)
    process, latencies, size = psutil.Process(pid), [], 0
    before = sum(process.cpu_times()[:2])
    for _ in range(times):
        began = time.perf_counter()
        connection.request("GET", "/metrics", headers={"Accept-Encoding": encoding})
        size = len(connection.getresponse().read())
        latencies.append(time.perf_counter() - began)
        time.sleep(PAUSE)
    connection.close()
    cpu = (sum(process.cpu_times()[:2]) - before) / times
    return Scrapes(latencies=latencies, cpu=cpu, size=size)


def _as_over_ethernet(port: int, timeout: float) -> socket.socket:
    """Connect with segments of 1,448 bytes.

    Those of the loopback, 64 KB, meet delayed acknowledgements: answers stop for 20 or 40 ms, by chance.
    """
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
    connection.settimeout(timeout)
    connection.connect(("127.0.0.1", port))
    return connection


@contextmanager
def exporter(
    series: int, records: int, kind: str = "exporter"
) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """Run the exporter (or the control) with so many series, not polling yet."""
    with canned(records=records, hosts=1) as url, child(*SERVING, kind, series, url) as process:
        yield int(heard(process)), process


def start_polling(process: "subprocess.Popen[str]") -> None:
    """Let it settle all it can from now on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    time.sleep(1.0)  # until the first pages are read


def measure() -> Section:
    """Scrape the exporter, prometheus-client's server and rundeck-exporter."""
    figures: list[Figure] = []
    notes: list[str] = []
    for series, times in SIZES:
        figures += _sized(series, times)
    with tempfile.TemporaryDirectory() as folder:
        program = _installed(Path(folder))
        if program is None:
            notes.append(f"skipped: {RUNDECK} could not be installed here")
        else:
            figures += [figure for runs in RUNS for figure in _beside_rundeck(program, runs)]
    return Section(
        title="Scrapes over HTTP",
        method="One scraper, 20 ms between scrapes, each server in a process of its own. Ours is scraped "
        "while it settles one-host records at full speed (the platform in a third process); the others "
        "have nothing else to do. The control is the same web server with a constant body, while the "
        "same client fetches and drops in its process: what the machine allows. CPU a scrape is that of "
        "the idle server. rundeck-exporter reads a mock API with as many finished runs in one project.",
        figures=tuple(figures),
        notes=tuple(notes),
    )


def _sized(series: int, times: int) -> list[Figure]:
    name = f"{series:,} series"
    with exporter(series, RECORDS) as (port, process):
        scrape(port, 3, pid=process.pid)
        quiet, quiet_zipped = (
            scrape(port, times, encoding=encoding, pid=process.pid) for encoding in ("identity", "gzip")
        )
        start_polling(process)
        plain_, zipped = (
            scrape(port, times, encoding=encoding, pid=process.pid) for encoding in ("identity", "gzip")
        )
    with exporter(series, 1, "control") as (port, process):
        start_polling(process)
        control = scrape(port, times, pid=process.pid)
    with child(*SERVING, "client", series) as process:
        port = int(heard(process))
        clients = [
            scrape(port, CLIENT_SCRAPES[series], encoding=encoding, pid=process.pid)
            for encoding in ("identity", "gzip")
        ]
    p99s = [percentile(scrapes.latencies, 99) for scrapes in (plain_, control, clients[0])]
    aims = [
        at_most(f"{name}: p99 while settling, plain ÷ the control's", p99s[0] / p99s[1], CONTROL_AIM),
        at_least(
            f"{name}: p99, plain: prometheus-client's ÷ ours while settling", p99s[2] / p99s[0], CLIENT_AIM
        ),
    ]
    return [
        plain(f"{name}: idle, plain ({quiet.size / 1e6:.2f} MB)", quiet.text),
        plain(f"{name}: while settling, plain", plain_.text),
        *(aims if series == 10_000 else []),
        plain(f"{name}: while settling, gzip ({zipped.size / 1e6:.2f} MB)", zipped.text),
        plain(f"{name}: control: a constant, while the client fetches", control.text),
        plain(f"{name}: prometheus-client, plain", clients[0].text),
        plain(f"{name}: prometheus-client, gzip", clients[1].text),
        plain(
            f"{name}: CPU a scrape, plain: ours, prometheus-client",
            f"{quiet.cpu * 1e3:.2f}, {clients[0].cpu * 1e3:.1f} ms",
        ),
        plain(
            f"{name}: CPU a scrape, gzip: ours, prometheus-client",
            f"{quiet_zipped.cpu * 1e3:.2f}, {clients[1].cpu * 1e3:.1f} ms",
        ),
    ]


def _installed(folder: Path) -> Path | None:
    """Install rundeck-exporter into an environment of its own; None if that can't be done."""
    try:
        venv.create(folder, with_pip=True)
        command = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", RUNDECK]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    except (subprocess.SubprocessError, OSError):
        return None
    return folder / "bin" / "rundeck_exporter"


def _beside_rundeck(program: Path, runs: int) -> list[Figure]:
    with exporter(0, runs) as (port, process):
        start_polling(process)
        ours = scrape(port, 100, pid=process.pid)
    with child(*SERVING, "rundeck", runs) as mock:
        url = f"http://127.0.0.1:{heard(mock)}"
        port = free_port()
        arguments = ("--port", port, "--rundeck.url", url, "--rundeck.projects.executions")
        limit = ("--rundeck.projects.executions.limit", runs)
        with child(
            *arguments, *limit, program=str(program), env={"RUNDECK_TOKEN": "none"}, mute=True
        ) as process:
            _wait_for(port)
            theirs = scrape(port, 3, pid=process.pid)
    if theirs.size < runs * 100:
        raise RuntimeError(f"rundeck-exporter showed {theirs.size} bytes for {runs} runs")
    ratio = median(theirs.latencies) / median(ours.latencies)
    name = f"{runs:,} finished runs"
    times = f"{name}: times faster than rundeck-exporter (p50)"
    return [
        plain(f"{name}: ours while it settles them, or has", ours.text),
        plain(f"{name}: rundeck-exporter", theirs.text),
        at_least(times, ratio, RUNDECK_AIM) if runs == RUNS[-1] else plain(times, f"{ratio:,.0f}"),
    ]


def _wait_for(port: int, limit: float = 30.0) -> None:
    """Wait until somebody listens. Raises TimeoutError."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=1.0).connect()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"nothing listens at port {port}")
