"""Servers to be scraped, each in a process of its own: `exporter` or `client`.

`python -m tests.benchmarks.serving exporter SERIES URL`: the exporter with at least so many series. It prints
its port, and settles all that the platform at URL has as fast as it can once it gets a line.
`… control SERIES URL`: the least that such a process can be: a constant body of the size of so many series
from the same web server, while the same client fetches from URL and drops what it gets, once it gets a line.
`… client SERIES`: prometheus-client's own server with the same series.
`… rundeck RUNS`: a mock of the API that rundeck-exporter reads, with so many finished runs.
"""

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from urllib.parse import urlsplit

import prometheus_client

from exporter.app import tune_interpreter
from exporter.discovery.tail import Tail
from exporter.jobapi.client import JobApi
from exporter.metrics.exposition import Exposition
from exporter.metrics.process import ProcessMetrics
from exporter.metrics.publisher import Publisher
from exporter.model import Sample, Snapshot
from exporter.polling.poller import Poller
from exporter.settings import ListenAddress, WebSettings
from exporter.tracking.counting_start import CountingStart
from exporter.tracking.values import Changes
from exporter.web.server import Web
from tests.benchmarks.asking import Question, api_config, fetch_all, own_client
from tests.benchmarks.measuring import quiet
from tests.benchmarks.rendering import client_registry, idc_series, increments
from tests.benchmarks.settling import CONFIG, open_ledger

ADDRESS = WebSettings(listen_address=(ListenAddress(host="127.0.0.1", port=0),))


def say(port: int) -> None:
    """Tell the parent the port."""
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


async def exporter(series: int, url: str) -> None:
    """Serve; poll without a pause once the parent says so."""
    with open_ledger(url, label_limit=10**6) as ledger:
        counting_start = CountingStart(baseline_end=0.0, floor=0.0)
        seed = Changes(tail=Tail(), counting_start=counting_start, increments=increments(series))
        ledger.commit(seed, now=1.0)
        process, exposition = ProcessMetrics(version="0", python="3"), Exposition()
        publisher = Publisher(exposition)
        api = JobApi(api_config(url), process)
        poller = Poller(api=api, ledger=ledger, config=CONFIG, process=process, publish=publisher.publish)
        web = Web(
            ADDRESS,
            scrape=lambda accept, encoding: exposition.scrape(accept=accept, accept_encoding=encoding),
            ready=lambda: None,
        )
        poller.publish()
        await publisher.show()
        publisher.start()
        await web.start()
        tune_interpreter()
        say(web.ports[0])
        await asyncio.to_thread(sys.stdin.readline)
        while True:
            await poller.poll()
            say(ledger.state.records)
            await asyncio.sleep(1.0)


async def control(series: int, url: str) -> None:
    """Serve a constant; fetch without a pause once the parent says so."""
    exposition = Exposition()
    exposition.show(Snapshot(counters={one: Sample(value=7.0, born=0.0) for one in idc_series(series)}))
    body = exposition.scrape(accept="", accept_encoding="")
    web = Web(ADDRESS, scrape=lambda _, __: body, ready=lambda: None)
    await web.start()
    say(web.ports[0])
    await asyncio.to_thread(sys.stdin.readline)
    page: Question = ("page", {"pageNo": "1", "pageSize": "1"})
    opened = own_client(api_config(url))
    await fetch_all(opened, url, repeat(page))  # by one client: making another holds up the loop by itself


def client(series: int) -> None:
    """Serve by prometheus-client."""
    server, _ = prometheus_client.start_http_server(0, addr="127.0.0.1", registry=client_registry(series))
    say(server.server_port)
    threading.Event().wait()


def rundeck(runs: int) -> None:
    """Serve what rundeck-exporter asks for."""
    system = {"rundeck": {"version": "5.0.0"}, "executions": {"executionMode": "active"}, "stats": {}}
    run = {"status": "succeeded", "user": "admin", "executionType": "user", "project": "p"}
    times = {"date-started": {"unixtime": 1_800_000_000_000}, "date-ended": {"unixtime": 1_800_000_005_000}}
    executions = [{**run, **times, "id": n, "job": {"id": f"job-{n % 50}", "name": "x"}} for n in range(runs)]
    answers = {
        "system/info": {"system": system},
        "metrics/metrics": {"counters": {"rundeck.x": {"count": 1}}},
        "projects": [{"name": "p"}],
        "executions": {"executions": executions},
        "executions/running": {"executions": []},
        "executions/metrics": {"total": runs},
    }
    bodies = {name: json.dumps(answer).encode() for name, answer in answers.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            body = max(
                (item for item in bodies.items() if path.endswith(item[0])), key=lambda item: len(item[0])
            )[1]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    say(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    quiet()
    kind, size = sys.argv[1], int(sys.argv[2])
    if kind == "exporter":
        asyncio.run(exporter(size, sys.argv[3]))
    elif kind == "control":
        asyncio.run(control(size, sys.argv[3]))
    elif kind == "client":
        client(size)
    else:
        rundeck(size)
