"""Nothing secret is put out though others quote it: platforms that echo, files that break around secrets."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGHUP

import pytest
from aiohttp import web

from exporter.cli.main import COMMANDS
from exporter.simulator.dialect import CANARY
from tests.crash.harness import Program, ran, running, started
from tests.crash.test_secrets import GIVEN, HEADER, PASSWORD, Given, found, prepare, put_out

HASH = f"$2y$10${CANARY}"
DEBUG = ("--log.level=debug", "--state.url=sqlite:///ledger.db")


def answers(sent: str) -> tuple[web.Response, ...]:
    """Ways to repeat what was sent: in an error, in broken JSON, in bodies of errors, in headers."""
    return (
        web.json_response({"status": "error", "message": f"bad credentials: {sent}", "content": None}),
        web.json_response({"status": "error", "message": sent.rpartition(" ")[2], "content": None}),
        web.Response(text='{"status":"success","content":{"List":[],"TotalCount":"' + sent),
        web.Response(text=f"<html>{sent}"),
        web.json_response({"list": sent, "totalCount": sent}),
        web.Response(status=400, text=sent),
        web.Response(status=401, headers={"WWW-Authenticate": f"Basic realm={sent!r}"}, text=sent),
        web.Response(status=503, headers={"Retry-After": sent, "Date": sent}, text=sent),
        web.Response(status=302, headers={"Location": f"http://127.0.0.1:9/?{sent}"}),
        web.Response(status=500, reason=sent, text=sent),
        web.Response(headers={"Content-Encoding": sent.rpartition(" ")[2]}, text=sent),
        web.Response(headers={"Content-Length": "9"}, text="{" + sent[:8]),
    )


@asynccontextmanager
async def echoing(only: int | None = None) -> AsyncIterator[str]:
    """A platform that repeats, way by way, what it is sent; `only` in one of the ways. Gives its address."""
    turns = itertools.count()

    async def echo(request: web.Request) -> web.Response:
        sent = f"{request.headers.get('X-Key', '')} {request.headers['Authorization']}"
        ways = answers(sent)
        return ways[next(turns) % len(ways) if only is None else only]

    runner = web.ServerRunner(web.Server(echo))  # type: ignore[arg-type]  # bare: any path
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def polled(program: Program, times: int) -> None:
    """Wait for so many polls."""
    while await program.value("job_exporter_polls_total") < times:
        assert program.alive


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
async def test_what_a_platform_echoes_is_put_out_nowhere(given: Given, tmp_path: Path) -> None:
    """Log at level debug, metrics, pages, ledger, `check`: none repeats it, in whatever way it came back."""
    prepare(tmp_path, given)
    async with echoing() as url:
        arguments = running(url, *DEBUG, f"--log.format={given.form}", *given.flags)
        async with started(tmp_path, *arguments, env=dict(given.env)) as program:
            for number in range(1, 4):
                await polled(program, number)
                assert not found(tmp_path, *await put_out(program))
            ended = await program.stop()
        assert ended.status == 0
        assert "api request" in ended.stderr
    for way in range(len(answers(""))):
        async with echoing(way) as url:
            ended = await ran(
                tmp_path,
                "check",
                f"--api.base-url={url}",
                "--api.retries=0",
                *given.flags,
                env=dict(given.env),
            )
            assert ended.status == 1, ended.stdout
            assert "Traceback" not in ended.stderr
    assert not found(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        f"basic_auth_users: {{alice:{HASH}}}",
        f"basic_auth_users: {{{HASH}: alice}}",
        f"basic_auth_users: {{alice: *{CANARY}}}",
        f"basic_auth_users:\n  alice: {HASH}\n bob: {HASH}",
        f"tls_server_config: {{cert: c, key: {CANARY}}}",
        f"tls_server_config:\n  key: |\n  {CANARY}",
        "\x01" + CANARY,
    ],
)
async def test_a_web_configuration_that_breaks_shows_nothing_of_it(content: str, tmp_path: Path) -> None:
    """Neither at a reload, when the old one stays, nor at a start, which is refused."""
    file = tmp_path / "config.yml"  # which the search leaves out
    file.write_text("")
    arguments = running("http://127.0.0.1:9", *DEBUG, "--web.config-file=config.yml")
    async with started(tmp_path, *arguments) as program:
        await program.url()
        file.write_text(content)
        program.signal(SIGHUP)
        await program.logged("web configuration refused")
        assert not found(tmp_path, *await put_out(program))
        await program.stop()
    refused = await ran(tmp_path, *arguments)
    assert (refused.status, refused.stderr[len(program.log) :].count("Traceback")) == (2, 0)
    assert not found(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        f"api: {{password:{PASSWORD}}}",
        f"api: {{password: *{CANARY}}}",
        f"api: {{password: [{PASSWORD}]}}",
        f"api: {{username: u, password: {{a: {PASSWORD}}}}}",
        f"api: {{headers: {{X-Key {HEADER}: b}}}}",
        f"api:\n  password: {PASSWORD}\n password: {PASSWORD}",
        f"state: {{url: 'postgresql+psycopg://me@127.0.0.1:9/x?password={PASSWORD}'}}",
        f"state: {{url: ['postgresql://me:{PASSWORD}@127.0.0.1:9/x']}}",
        f"state: {{url: 'postgresql://me:{PASSWORD} @[127.0.0.1:9/x'}}",
        f"state: {{url: 'postgresql://me:{PASSWORD}@127.0.0.1:port/x'}}",
    ],
)
async def test_a_settings_file_that_is_wrong_is_not_quoted(content: str, tmp_path: Path) -> None:
    """One line tells what is wrong with a secret, and nothing of it."""
    (tmp_path / "config.yml").write_text(content)
    ended = await ran(tmp_path, "run", "--api.base-url=http://127.0.0.1:9", "--config=config.yml")
    assert (ended.status, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert not found(tmp_path)


@pytest.mark.parametrize("command", sorted(COMMANDS))
async def test_help_shows_no_secret_that_is_set(command: str, tmp_path: Path) -> None:
    """What is in the environment or on the command line is no default."""
    given = GIVEN["variables"]
    ended = await ran(tmp_path, command, f"--api.password={PASSWORD}", "--help", env=dict(given.env))
    assert ended.status == 0
    assert ended.stdout
    assert not found(tmp_path)
