"""Large answers arrive whole, over HTTP and over TLS."""

import ssl
import time
from pathlib import Path

import pytest
import trustme

from tests.harness.web import connected, read_answer, request, serving, shown

SIZE = 1_000_000
PROMPT = 1.0  # seconds for one scrape


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("scrapes", [20, pytest.param(1_000, marks=pytest.mark.servers)])
async def test_a_large_answer_over_tls_arrives_whole(scrapes: int, keep_alive: bool, tmp_path: Path) -> None:
    """Every scrape of a megabyte is complete and prompt, on one connection or on one each."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "all.pem")
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config: {cert_file: all.pem, key_file: all.pem}\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    body = b"job_records 1\n" * (SIZE // 14)
    async with serving(file=file, scrape=lambda _a, _e: shown(body=body)) as web:
        slowest = 0.0
        for _ in range(1 if keep_alive else scrapes):
            async with connected(web.ports[0], context, patience=300) as (reader, writer):
                for _ in range(scrapes if keep_alive else 1):
                    began = time.monotonic()
                    writer.write(request(close=not keep_alive))
                    assert (await read_answer(reader)).body == body
                    slowest = max(slowest, time.monotonic() - began)
    assert scrapes < 1_000 or slowest < PROMPT
