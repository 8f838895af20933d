"""Large answers arrive whole, over HTTP and over TLS."""

import ssl
from pathlib import Path

import pytest
import trustme

from tests.harness.web import connected, read_answer, request, serving, shown

SIZE = 1_000_000
SCRAPES = 50  # the long run makes a thousand


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_a_large_answer_over_tls_arrives_whole(keep_alive: bool, tmp_path: Path) -> None:
    """Every scrape of a megabyte is complete, on one connection or on one each."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "all.pem")
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config: {cert_file: all.pem, key_file: all.pem}\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    body = b"job_records 1\n" * (SIZE // 14)
    async with serving(file=file, scrape=lambda _a, _e: shown(body=body)) as web:
        for _ in range(1 if keep_alive else SCRAPES):
            async with connected(web.ports[0], context) as (reader, writer):
                for _ in range(SCRAPES if keep_alive else 1):
                    writer.write(request(close=not keep_alive))
                    assert (await read_answer(reader)).body == body
