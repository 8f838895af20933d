"""The command line: which command, its flags, one clear line when something is wrong, the exit status."""

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from exporter import __version__
from exporter.cli import commands
from exporter.cli.main import COMMANDS, main
from exporter.ledger.layout import Layout
from exporter.ledger.ledger import Ledger
from exporter.metrics.families import families
from exporter.settings import MetricsSettings
from tests.harness.core import logging_kept

NOBODY = "--api.base-url=http://127.0.0.1:9"
FORGOTTEN_HOST = "postgresql://job-exporter:hunter2/jobs"  # the password stands where a port belongs
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Give the logging of the tests back afterwards."""
    with logging_kept():
        yield


def ran(*argv: str, environ: dict[str, str] | None = None) -> object:
    """Run a command line to its end; the exit status."""
    with pytest.raises(SystemExit) as ended:
        main(argv, environ or {})
    return ended.value.code


def refused(capsys: Captured, *argv: str, environ: dict[str, str] | None = None) -> str:
    """Run what cannot work: status 2, and one line on standard error."""
    assert ran(*argv, environ=environ) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("job-exporter: ")
    return line


# -- which command


@pytest.mark.parametrize(("argv", "status"), [((), 2), (("--help",), 0), (("-h",), 0), (("help",), 0)])
def test_the_overview_names_every_command(argv: tuple[str, ...], status: int, capsys: Captured) -> None:
    """Asked for it is well, without anything it is status 2."""
    assert ran(*argv) == status
    told = capsys.readouterr().out
    assert all(f"  {name}" in told for name in COMMANDS)


def test_the_version_is_told(capsys: Captured) -> None:
    """As a program is asked for it."""
    assert ran("--version") == 0
    assert capsys.readouterr().out == f"job-exporter {__version__}\n"


@pytest.mark.parametrize("command", [*COMMANDS])
def test_the_version_is_told_after_every_command(command: str, capsys: Captured) -> None:
    """Users of other exporters type it there; nothing else happens."""
    assert ran(command, "--version") == 0
    assert capsys.readouterr().out == f"job-exporter {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--web.telemetry-path=/m",), "api.base-url"),
        (
            (NOBODY, "--pol.interval=5s"),
            "unknown flag --pol.interval: the nearest known one is --poll.interval",
        ),
        ((NOBODY, "--poll.interval=soon"), "poll.interval"),
        ((NOBODY, "--config.file=/nowhere.yaml"), "cannot read the settings file '/nowhere.yaml'"),
        ((NOBODY, "--web.config.file=/nowhere.yaml"), "--web.config-file: "),
        (("audit", "--config.file", "/nowhere.yaml", "a"), "cannot read the settings file '/nowhere.yaml'"),
    ],
)
def test_flags_without_a_command_mean_run(argv: tuple[str, ...], said: str, capsys: Captured) -> None:
    """Mistakes are told as after `run`."""
    assert said in refused(capsys, *argv)


def test_help_of_run_without_its_name(capsys: Captured) -> None:
    """Flags and --help: the help of `run`."""
    assert ran(NOBODY, "--help") == 0
    assert capsys.readouterr().out.startswith("Usage: job-exporter run ")


HEAVY = ("aiohttp", "apscheduler", "httpx", "prometheus_client", "rich", "sqlalchemy")


@pytest.mark.parametrize("argv", [("healthcheck", "--web.listen-address=127.0.0.1:1"), ("--version",)])
def test_a_small_command_imports_little(argv: tuple[str, ...]) -> None:
    """A container runs the health check every few seconds: it needs no library of the daemon."""
    code = (
        "import sys\nfrom exporter.cli.main import main\n"
        "try: main(sys.argv[1:], {})\nexcept SystemExit: pass\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules), sep=',')"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == [""]


@pytest.mark.parametrize("argv", [("--help",), ("--version",), ("audit", "--help"), ("metrics",)])
def test_ctrl_c_ends_every_command_quietly(
    argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Whatever the command does just then."""
    monkeypatch.setattr(sys, "stdout", Hung(KeyboardInterrupt))
    assert ran(*argv) == 0
    assert capsys.readouterr().err == ""


def test_the_command_line_is_the_process_own(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """Without arguments `main` takes those of the process."""
    monkeypatch.setattr(sys, "argv", ["job-exporter", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: Captured) -> None:
    """Those that there are get named."""
    line = refused(capsys, "start")
    assert (
        "unknown command 'start'; commands: run, check, healthcheck, simulate, demo, audit, ledger, metrics"
        in line
    )


@pytest.mark.parametrize("command", [*COMMANDS])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_each_command_tells_its_flags(command: str, flag: str, capsys: Captured) -> None:
    """Those that are settings, and its own."""
    assert ran(command, flag) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Usage: job-exporter {command} [flags]\n\n{COMMANDS[command].summary}\n")
    assert ("--poll.interval" in told) is COMMANDS[command].takes_settings
    assert ("--scenario" in told) is (command in {"simulate", "demo"})


# -- what cannot work


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("run",), "api.base-url"),
        (("run", NOBODY, "--pol.interval=5s"), "--poll.interval"),
        (("run", NOBODY, "--poll.interval=soon"), "poll.interval"),
        (("run", NOBODY, "--state.url=nonsense"), "write sqlite:///"),
        (("run", NOBODY, f"--state.url={FORGOTTEN_HOST}"), "or the host is missing"),
        (("audit", "a", NOBODY, f"--state.url={FORGOTTEN_HOST}"), "or the host is missing"),
        (
            ("backfill", NOBODY, "--from=1h", "--output=x", f"--state.url={FORGOTTEN_HOST}"),
            "or the host is missing",
        ),
        (("ledger", "copy", FORGOTTEN_HOST, "sqlite:///x.db"), "or the host is missing"),
        (("run", NOBODY, "--state.url=sqlite:////nowhere/at/all.db"), "cannot be written"),
        (("run", NOBODY, "--api.ca-file=/nowhere.pem"), "/nowhere.pem"),
        (("check",), "api.base-url"),
        (("audit",), "a record or a window: write job-exporter audit ID"),
        (("audit", "a", "--since=1h"), "a record or a window"),
        (("audit", "a", "b"), "an argument is neither a flag nor the value of one"),
        (("audit", "a"), "api.base-url"),
        (("audit", "a", NOBODY, "--state.url=sqlite:///none.db"), "there is no ledger none.db"),
        (("audit", "a", NOBODY, "--state.url", "sqlite:///none.db"), "there is no ledger none.db"),
        (("audit", "a", NOBODY, "--state.url"), "--state.url"),
        (("audit", "--since=1h", "--longest-run=long"), "--longest-run: 'long' is no duration"),
        (("audit", "--sincee=1h"), "unknown flag --sincee: the nearest known one is --since"),
        (("audit", "a", "--api.timeuot=3s"), "the nearest known one is --api.timeout"),
        (("metrics", "--metrics.record-labels=colour"), "record-labels"),
        (("demo", "--scenaro=busy"), "--scenaro"),
        (("demo", "--rate=fast"), "--rate"),
        (("demo", "--fault-rate=2"), "fault_rate must be between 0 and 1"),
        (("simulate", "--scenario=quiet"), "--scenario"),
        (("simulate", "--lsten-address=:1"), "the nearest known one is --listen-address"),
        (("demo", "--fault-rat=0.2"), "unknown flag --fault-rat: the nearest known one is --fault-rate"),
        (("demo", "--poll.intervall=1s"), "the nearest known one is --poll.interval"),
        (("simulate", "--listen-address=:http"), "is not [host]:port"),
        (("simulate", "--listen-address=:70000"), "is not [host]:port"),
        (("simulate", "--history=-1"), "must not be negative"),
        (("simulate", "--username=me"), "a username and a password go together"),
        (("simulate", "--password=hunter2"), "a username and a password go together"),
        (("simulate", "--username=a:b", "--password=hunter2"), "--username must not contain a colon"),
        (("simulate", "--username=me", "--password=hunter2", "--password-file=x"), "give only one of"),
        (("simulate", "--username=me", "--password-file=/nowhere"), "--password-file /nowhere: No such file"),
        (
            ("simulate", "--username=me", "--password-file=/dev/null"),
            "--password-file /dev/null: not a single line",
        ),
        (("simulate", "--passwrd:hunter2"), "unknown flag --passwrd: the nearest known one is --password"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(argv: tuple[str, ...], said: str, capsys: Captured) -> None:
    """It names the culprit and what to write instead, and shows no password."""
    line = refused(capsys, *argv)
    assert said in line
    assert "hunter2" not in line


def test_an_audit_of_nobody_is_refused(tmp_path: Path, capsys: Captured) -> None:
    """Of a platform that is gone, and of another one's ledger; the ledger stays as it is."""
    path = tmp_path / "ledger.db"
    state = f"--state.url=sqlite:///{path}"
    Ledger(f"sqlite:///{path}", platform="http://127.0.0.1:9", now=0.0, layout=Layout()).close()
    before = path.read_bytes()
    for what in ("a", "--since=1h"):
        said = refused(capsys, "audit", what, NOBODY, state, "--api.retries=0")
        assert "cannot reach http://127.0.0.1:9" in said
        other = "--api.base-url=http://other.test"
        assert "belongs to the platform" in refused(capsys, "audit", what, other, state)
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"ledger.db", "ledger.db.lock"}


def test_an_unknown_variable_is_refused(capsys: Captured) -> None:
    """One with our prefix that nobody reads is a mistake."""
    line = refused(capsys, "run", NOBODY, environ={"JOB_EXPORTER_API__BASEURL": "x"})
    assert "JOB_EXPORTER_API__BASE_URL" in line


def test_a_port_in_use_is_refused(tmp_path: Path, capsys: Captured) -> None:
    """By the exporter and by the simulator."""
    state = f"--state.url=sqlite:///{tmp_path / 'ledger.db'}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refused(capsys, "run", NOBODY, state, f"--web.listen-address={address}")
        assert address in refused(capsys, "simulate", f"--listen-address={address}")


# -- what works


def test_metrics_lists_every_family(capsys: Captured) -> None:
    """With the labels that are set."""
    assert ran("metrics", "--metrics.record-labels=provider") == 0
    told = capsys.readouterr().out
    assert "job_records_finished_total{result_status,provider} (counter)\n" in told
    assert "job_records_discovered_total (counter)\n" in told
    for family in families(MetricsSettings()):
        assert f"{family.name}" in told
        assert f"    {family.help}\n" in told


def test_a_check_of_nothing_ends_with_1(capsys: Captured) -> None:
    """Nobody listens there: the table says so."""
    assert ran("check", NOBODY, "--api.retries=0") == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "reachable bad connect" in told


class Hung(io.StringIO):
    """Standard output that nobody reads any more, or where someone presses Ctrl-C."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error

    def write(self, _text: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError, KeyboardInterrupt])
def test_a_reader_that_went_away_is_no_error(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """`job-exporter metrics | head -1` complains about nothing."""
    monkeypatch.setattr(sys, "stdout", Hung(error))
    assert ran("metrics") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("argv", [("metrics",), ("--help",), ("assets", "new")])
def test_output_that_cannot_be_written_is_told_in_a_line(argv: tuple[str, ...], tmp_path: Path) -> None:
    """A full disk under stdout ends with status 2 and one line, without a traceback."""
    command = [sys.executable, "-m", "exporter", *argv]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False
        )
    assert (result.returncode, result.stderr) == (
        2,
        "job-exporter: cannot write the output: No space left on device\n",
    )


@pytest.mark.parametrize(
    "argv",
    [
        ("--help",),
        ("--version",),
        ("audit", "--help"),
        ("metrics",),
        ("check", "--api.base-url=http://127.0.0.1:1", "--api.retries=0"),
    ],
)
def test_a_pipe_that_nobody_reads_ends_every_command_quietly(argv: tuple[str, ...]) -> None:
    """Whether the output is written at once or at the end: no complaint, no traceback."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "exporter", *argv], check=False, stdout=write, stderr=subprocess.PIPE
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_may_know_ascii_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of IDCs are Chinese: what can't be shown is escaped."""

    def act(_argv: Sequence[str], _environ: Mapping[str, str]) -> int:
        sys.stdout.write("北京\n")
        return 0

    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(commands, "metrics", act)
    assert ran("metrics") == 0
    assert terminal.buffer.getvalue() == rb"\u5317\u4eac" + b"\n"


class Ending(io.StringIO):
    """Standard output; asks the process to end once `words` were written."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.words in text:
            os.kill(os.getpid(), signal.SIGTERM)
        return written


def test_the_simulator_runs_until_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells its address, dialect and order."""
    out = Ending("expected counts")
    monkeypatch.setattr(sys, "stdout", out)
    flags = ("--listen-address=127.0.0.1:0", "--history=3", "--dialect=documented", "--order=desc")
    assert ran("simulate", *flags) == 0
    assert "simulated job platform at http://127.0.0.1:" in out.getvalue()
    assert "(documented, desc, demo)" in out.getvalue()


@pytest.mark.parametrize(
    ("dialect", "answer"), [("observed", (200, "invalid user")), ("documented", (401, "unauthorized"))]
)
def test_credentials_can_be_rehearsed(dialect: str, answer: tuple[int, str], tmp_path: Path) -> None:
    """The simulated platform wants the user and the password, from a flag or a file, and shows none."""
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    for password in ("--password=hunter2", f"--password-file={file}"):
        flags = (
            "--listen-address=127.0.0.1:0",
            "--history=1",
            f"--dialect={dialect}",
            "--username=me",
            password,
        )
        command = [sys.executable, "-u", "-m", "exporter", "simulate", *flags]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            try:
                told = process.stdout.readline() + process.stdout.readline()
                url = told.split("platform at ")[1].split()[0] + "/api/v1/job/record/page?pageNo=1&pageSize=1"
                json_type = {"Content-Type": "application/json"}
                right, wrong = (
                    httpx.get(url, headers=json_type, auth=("me", word)) for word in ("hunter2", "no")
                )
            finally:
                process.terminate()
            told += process.stdout.read()
        assert (right.status_code, "TotalCount" in right.text or "totalCount" in right.text) == (200, True)
        assert (wrong.status_code, wrong.json()["message"]) == answer
        assert "requires the user" in told
        assert "hunter2" not in told


def test_the_demo_runs_until_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where to look, and leaves no ledger behind."""
    out = Ending("Press Ctrl-C to stop")
    monkeypatch.setattr(sys, "stdout", out)
    assert ran("demo", "--web.listen-address=127.0.0.1:0", "--log.level=error") == 0
    for words in ("the page", "the metrics", "the platform", "/sim/truth"):
        assert words in out.getvalue()


def test_the_daemon_runs_until_a_signal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its log says that it polls, and that it stopped; standard output is silent."""
    log = Ending("event=polling")
    monkeypatch.setattr(sys, "stderr", log)
    state = f"--state.url=sqlite:///{tmp_path / 'ledger.db'}"
    assert ran("run", NOBODY, state, "--web.listen-address=127.0.0.1:0", "--api.retries=0") == 0
    assert log.getvalue().splitlines()[-1].endswith("event=stopped")


def test_the_daemon_is_ready_once_it_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Systemd is told after the web server listens, and not at all if it cannot."""
    log = Ending("event=polling")
    monkeypatch.setattr(sys, "stderr", log)
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    flags = (NOBODY, f"--state.url=sqlite:///{tmp_path / 'ledger.db'}", "--api.retries=0")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        manager.bind(environ["NOTIFY_SOCKET"])
        manager.setblocking(False)
        port = taken.getsockname()[1]
        assert ran("run", *flags, f"--web.listen-address=127.0.0.1:{port}", environ=environ) == 2
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        assert ran("run", *flags, "--web.listen-address=127.0.0.1:0", environ=environ) == 0
        assert manager.recv(100) == b"READY=1"


# -- where it cannot run


def test_windows_is_refused_in_one_line() -> None:
    """On Windows the import ends with one line that says what to do."""
    code = "import sys; sys.platform = 'win32'; import exporter"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "needs a POSIX system" in line
