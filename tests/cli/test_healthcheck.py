"""`job-exporter healthcheck`: which answer of the daemon is healthy, and where it is asked."""

import asyncio
import re
import socket
from pathlib import Path

import pytest
import trustme

from exporter.cli.healthcheck import healthcheck
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.server import serve
from tests.harness.web import hashed, serving

Captured = pytest.CaptureFixture[str]
TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"


async def checked(capsys: Captured, listen: str, *flags: str) -> tuple[int, str]:
    """Run the check beside the server of this loop; its status and its one line."""
    status = await asyncio.to_thread(healthcheck, [f"--web.listen-address={listen}", *flags], {})
    # The server of the tests logs to the same output, also meanwhile.
    (line,) = [line for line in capsys.readouterr().out.splitlines() if re.match("(un)?healthy: ", line)]
    return status, line


def web_file(folder: Path, text: str) -> Path:
    """Write a web configuration with its certificates beside it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("exporter.example")  # not the name that is asked for
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "web.yml").write_text(text)
    return folder / "web.yml"


@pytest.mark.parametrize("listen", ["127.0.0.1:{}", ":{}", "0.0.0.0:{}"])
async def test_a_daemon_that_answers_is_healthy(
    listen: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each spelling of the address, ready or not, and past a proxy that the environment names."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with serving(ready=lambda: "no poll yet") as web:
        port = web.ports[0]
        status, line = await checked(capsys, listen.format(port))
    assert (status, line) == (0, f"healthy: http://127.0.0.1:{port}/-/healthy answers 200")


@pytest.mark.parametrize(
    ("text", "healthy"),
    [
        (TLS, "answers 200"),
        (f"{TLS}basic_auth_users:\n  alice: {hashed('secret')}\n", "answers 401"),
        ("rate_limit:\n  interval: 1h\n  burst: 1\n", "answers 429"),
        (
            f"{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n",
            "asks for a client certificate",
        ),
    ],
    ids=["tls", "users", "rate limit", "client certificates"],
)
async def test_the_web_configuration_is_followed(
    text: str, healthy: str, tmp_path: Path, capsys: Captured
) -> None:
    """No certificate is verified; to be refused for want of a login or certificate is a sign of life."""
    file = web_file(tmp_path, text)
    async with serving(file=file) as web:
        listen, flag = f"127.0.0.1:{web.ports[0]}", f"--web.config-file={file}"
        await checked(capsys, listen, flag)  # takes the one token of the rate limit
        status, line = await checked(capsys, listen, flag)
    assert (status, line.endswith(healthy)) == (0, True), line


async def test_a_refused_handshake_is_unhealthy_without_client_certificates(
    tmp_path: Path, capsys: Captured
) -> None:
    """TLS is expected, plain HTTP is served: not the daemon of these settings."""
    async with serving() as web:
        flag = f"--web.config-file={web_file(tmp_path, TLS)}"
        status, line = await checked(capsys, f"127.0.0.1:{web.ports[0]}", flag)
    assert (status, line.startswith("unhealthy: https://127.0.0.1:")) == (1, True)


async def test_another_program_on_the_port_is_unhealthy(capsys: Captured) -> None:
    """A server that has no such path, or does not speak HTTP, is not the daemon."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example\r\n")
        writer.close()

    async def missing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    for answer in (talk, missing):
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            status, line = await checked(capsys, f"127.0.0.1:{port}")
        assert (status, line.startswith("unhealthy: ")) == (1, True), line


async def test_where_nothing_listens_it_is_unhealthy(capsys: Captured) -> None:
    """A dead process is unhealthy."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    status, line = await checked(capsys, f"127.0.0.1:{port}")
    assert (status, line.startswith(f"unhealthy: http://127.0.0.1:{port}/-/healthy: ")) == (1, True)


@pytest.mark.parametrize(
    ("listen", "flags", "told"),
    [
        (":0", (), "unhealthy: web.listen-address has port 0"),
        (":16868", ("--web.no-such=1",), "unhealthy: unknown flag --web.no-such"),
    ],
)
async def test_settings_that_tell_no_address_are_unhealthy(
    listen: str, flags: tuple[str, ...], told: str, capsys: Captured
) -> None:
    """Status 1 and one line, for Docker knows no other status."""
    status, line = await checked(capsys, listen, *flags)
    assert (status, line.startswith(told)) == (1, True), line


async def test_the_simulator_is_checked_the_same_way(capsys: Captured) -> None:
    """The example with Compose starts the exporter once the simulated platform answers."""
    async with await serve(SimulatorConfig(port=0, traffic=False)) as simulator:
        status, _ = await checked(capsys, simulator.url.removeprefix("http://"))
    assert status == 0
