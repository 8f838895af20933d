"""Draw every dashboard into a folder: `make look`, or `python -m tests.look [FOLDER] [--idcs=30] [--down]`.

A simulated platform, the exporter with hours of history from `backfill`, and a Prometheus with the rules run
meanwhile. Needs node, npm, chromium and `make tools`. Grafana's libraries (660 MB) are installed into
.output.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import httpx

from tests.rules.tools import program

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUTPUT = ROOT / ".output" / "look"
HOURS = 7  # an hour more than the widest picture: the first rates look back
SETTLED = 90  # seconds of scraping: the recording rules have values then, and alerts their first state
DOWN = 240  # seconds until the alert about a platform that is down fires
THEMES = ("dark", "light")
RANGES = ("1h", "6h")
SIZE = ("1600", "900")


def main(arguments: Sequence[str]) -> int:
    """Draw the dashboards; return 1 where a panel showed an error."""
    wished = _arguments(arguments)
    output = wished.folder.resolve()
    work = output / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    harness = _harness(output / "harness")
    with ExitStack() as running:
        platform, url = _platform(running, work, wished.idcs)
        prometheus = _prometheus(running, work, url)
        web = _port()
        boards = ROOT / "grafana" / "dashboards"
        running.enter_context(_process(["node", "serve.mjs", str(web), str(boards)], harness, work / "web"))
        time.sleep(SETTLED)
        if wished.down:
            platform.terminate()
            time.sleep(DOWN)
        names = sorted(path.stem for path in boards.glob("*.json"))
        broken = []
        for board, shown, theme in product(names, RANGES, THEMES):
            picture = output / f"{board}-{shown}-{theme}.png"
            query = f"board={board}&theme={theme}&from=now-{shown}&prom={prometheus}"
            if not _shot(picture, query, harness, web):
                broken.append(picture.name)
    sys.stdout.write(f"pictures are in {output}\n" + "".join(f"broken: {name}\n" for name in broken))
    return int(bool(broken))


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.look", description="Draw every dashboard.")
    parser.add_argument("folder", nargs="?", type=Path, default=OUTPUT)
    parser.add_argument("--idcs", type=int, default=8, help="how many IDCs the platform has")
    parser.add_argument("--down", action="store_true", help="the platform is down when they are drawn")
    return parser.parse_args(arguments)


def _harness(folder: Path) -> Path:
    """Copy the page that draws, install its libraries as locked, and build it."""
    shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    if not (folder / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True)
    subprocess.run(["node", "build.mjs"], cwd=folder, check=True)
    return folder


def _platform(running: ExitStack, work: Path, idcs: int) -> tuple["subprocess.Popen[bytes]", str]:
    """Start the platform; return its process and address."""
    port = _port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tests.look.platform", str(port), str(HOURS * 3600), str(idcs)]
    process = running.enter_context(_process(command, ROOT, work / "platform"))
    _wait(f"{url}/api/v1/job/record/page?pageNo=1&pageSize=1")
    return process, url


def _prometheus(running: ExitStack, work: Path, url: str) -> str:
    """Start the exporter of the platform at `url`, and Prometheus with history; return its address."""
    exporter, port = _port(), _port()
    settings = [f"--api.base-url={url}", f"--state.url=sqlite:///{work}/ledger.db"]
    python = [sys.executable, "-m"]
    daemon = [*python, "exporter", "run", *settings, f"--web.listen-address=127.0.0.1:{exporter}"]
    running.enter_context(_process(daemon, ROOT, work / "exporter"))
    _wait(f"http://127.0.0.1:{exporter}/-/ready")
    labels = ["--label=job=job-exporter", f"--label=instance=127.0.0.1:{exporter}"]
    history = [*python, "exporter", "backfill", f"--from={HOURS}h", f"--output={work}/history.txt"]
    subprocess.run([*history, *settings, *labels], cwd=ROOT, check=True)
    blocks = ["tsdb", "create-blocks-from", "openmetrics", "history.txt", "data"]
    subprocess.run([program("promtool"), *blocks], cwd=work, check=True, stdout=subprocess.DEVNULL)
    (work / "prometheus.yml").write_text(
        "global: {scrape_interval: 15s, evaluation_interval: 15s}\n"
        f"rule_files: ['{ROOT}/deploy/prometheus/rules/*.yml']\n"
        "scrape_configs:\n"
        f"  - {{job_name: job-exporter, static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]}}\n"
    )
    command = [str(program("prometheus")), "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--web.cors.origin=.*"]
    command += ["--enable-feature=exemplar-storage", "--storage.tsdb.retention.time=30d"]
    running.enter_context(_process(command, work, work / "prometheus"))
    _wait(f"http://127.0.0.1:{port}/-/ready")
    return f"http://127.0.0.1:{port}"


def _shot(picture: Path, query: str, harness: Path, web: int) -> bool:
    """Draw one dashboard; return whether every query was answered and drawn."""
    command = ["node", "shoot.mjs", str(picture), query, *SIZE]
    environment = {**os.environ, "PORT": str(web), "CHROMIUM": shutil.which("chromium") or "chromium"}
    return subprocess.run(command, cwd=harness, env=environment, check=False).returncode == 0


@contextmanager
def _process(command: Sequence[str], folder: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program until the pictures are drawn; what it says goes into a file."""
    with (
        log.with_suffix(".log").open("w") as said,
        subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def _port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait(url: str, *, seconds: float = 60) -> None:
    """Wait until an address answers with success."""
    headers = {"Content-Type": "application/json"}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, headers=headers).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(url)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
