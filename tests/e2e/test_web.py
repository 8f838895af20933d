"""Prometheus scrapes large answers over TLS."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
import trustme

from tests.e2e.servers import Target, prometheus
from tests.harness.web import serving, shown

SIZE = 1_000_000
TLS = "tls_server_config: {cert_file: all.pem, key_file: all.pem}\n"


@pytest.mark.servers
@pytest.mark.parametrize("compressed", [False, True])
async def test_prometheus_reads_a_megabyte_over_tls(compressed: bool, tmp_path: Path) -> None:
    """With and without compression of its own, the target is up and all its series are there."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "all.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "web.yml").write_text(TLS)
    lines = [f'big{{number="{number}",fill="{"x" * 60}"}} 1\n' for number in range(SIZE // 85)]
    body = "".join(lines).encode()
    job = {
        "scheme": "https",
        "scrape_interval": "200ms",
        "scrape_timeout": "200ms",
        "enable_compression": compressed,
        "tls_config": {"ca_file": str(tmp_path / "ca.pem"), "server_name": "localhost"},
    }
    async with serving(file=tmp_path / "web.yml", scrape=lambda _a, _e: shown(body=body)) as web:
        targets = {"big": [Target(address=f"127.0.0.1:{web.ports[0]}")]}
        with prometheus(tmp_path, targets, [], factor=1, rules={}, job=job) as address:
            query = f"http://{address}/api/v1/query"
            asked = {"query": "count(big) == 11764 and on() (count_over_time(up[1h]) > 20)"}
            async with httpx.AsyncClient(trust_env=False) as client:
                deadline = time.monotonic() + 60
                while not (await client.get(query, params=asked)).json()["data"]["result"]:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.2)
                # The first scrapes fell into the start, when this loop stood still.
                failed = {"query": "count_over_time((up{job='big'} == 0)[2s:100ms])"}
                assert (await client.get(query, params=failed)).json()["data"]["result"] == []
