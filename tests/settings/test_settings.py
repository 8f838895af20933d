"""Settings: what is read from where, what is refused and how, and that nothing secret is ever shown."""

import logging
import math
import os
import pickle
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from exporter.settings import (
    ApiSettings,
    ListenAddress,
    MetricsSettings,
    Settings,
    SettingsError,
    StateSettings,
    WebSettings,
    catalog,
    help_text,
    load,
)
from exporter.settings.parsers import duration
from exporter.settings.text import quote

CANARY = "hunter2-canary"

# The public interface: users' files and units hang on these names.
NAMES = {
    "": "config",
    "api": "base-url username password password-file token-file headers ca-file cert-file key-file proxy-url "
    "timeout concurrency duty page-size max-response-bytes timezone retries",
    "poll": "interval recheck-interval sweep adopt history settle-grace overdue-grace",
    "state": "url retention",
    "metrics": "zero-hold label-limit record-labels duration-buckets",
    "web": "listen-address config-file telemetry-path record-url",
    "log": "level format",
}
DEFAULTS = {
    "api.timeout": "10s",
    "api.concurrency": "8",
    "api.duty": "0.1",
    "api.page-size": "500",
    "api.timezone": "UTC",
    "poll.interval": "15s",
    "poll.recheck-interval": "5m",
    "poll.sweep": "24h",
    "poll.adopt": "200",
    "poll.history": "none",
    "poll.settle-grace": "15s",
    "poll.overdue-grace": "30s",
    "state.url": "sqlite:///job-exporter.db",
    "state.retention": "30d",
    "metrics.zero-hold": "60s",
    "metrics.label-limit": "500",
    "metrics.record-labels": "provider,script_type",
    "web.listen-address": ":16868",
    "log.format": "logfmt",
}


def write(folder: Path, text: str) -> str:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(argv: list[str], environ: Mapping[str, str] | None = None) -> str:
    """Give the text of the error, having made sure that it is one line and nothing is chained to it."""
    with pytest.raises(SettingsError) as caught:
        load(argv, environ or {})
    text = str(caught.value)
    assert text
    assert "\n" not in text
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return text


def test_defaults_are_those_of_the_design() -> None:
    """Without any setting everything has the value that the design and the documentation tell."""
    settings = load([], {})
    assert settings == Settings()
    assert settings.api.timezone is UTC
    assert (settings.api.max_response_bytes, settings.api.retries) == (64 * 2**20, 2)
    assert (settings.poll.interval, settings.poll.recheck_interval, settings.poll.history) == (
        15.0,
        300.0,
        0.0,
    )
    assert settings.state.retention == 30 * 86400.0
    assert settings.state.url.get_secret_value() == "sqlite:///job-exporter.db"
    assert settings.web.listen_address == (ListenAddress(host="", port=16868),)
    assert settings.metrics.record_labels == ("provider", "script_type")
    buckets = settings.metrics.duration_buckets
    assert (len(buckets), buckets[0], buckets[-1]) == (14, 1.0, 6 * 3600.0)
    told = {info.name: info.default for info in catalog()}
    assert {name: told[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("flag", "variable", "in_file", "expected"),
    [
        ("1s", "2s", "3s", 1.0),
        (None, "2s", "3s", 2.0),
        (None, None, "3s", 3.0),
        ("1s", None, "3s", 1.0),
        (None, "", "3s", 3.0),
        (None, None, "", 15.0),
        (None, None, "null", 15.0),
    ],
)
def test_a_flag_goes_before_a_variable_before_the_file(
    tmp_path: Path, flag: str | None, variable: str | None, in_file: str, expected: float
) -> None:
    """Each setting is taken from the first place that gives it; an empty variable or key gives none."""
    path = write(tmp_path, f"poll:\n  interval: {in_file}\n  adopt: 7\nlog:\n")
    argv = ["--config", path] + ([] if flag is None else [f"--poll.interval={flag}"])
    environ = {"PATH": "/bin"} | ({} if variable is None else {"JOB_EXPORTER_POLL__INTERVAL": variable})
    settings = load(argv, environ)
    assert settings.poll.interval == expected
    assert settings.poll.adopt == 7  # a sibling in the file is not hidden by the flag


def test_the_file_is_named_by_a_flag_before_a_variable(tmp_path: Path) -> None:
    """`--config` and JOB_EXPORTER_CONFIG both name the file, and the flag wins, also with nothing."""
    path = write(tmp_path, "\ufefflog: {level: debug}\n")
    assert load([], {"JOB_EXPORTER_CONFIG": path}).log.level == "debug"
    assert load(["--config="], {"JOB_EXPORTER_CONFIG": path}).log.level == "info"
    assert load(["--config", path], {"JOB_EXPORTER_CONFIG": "/nowhere"}).config == path
    assert load(["--config", write(tmp_path, "# nothing yet\n")], {}).log.level == "info"


def sample_values(folder: Path) -> dict[str, str]:
    """Give one text other than the default for every setting that can stand beside the others."""
    file = folder / "file"
    file.touch()
    return {
        "api.base-url": "https://jobs.example:6868/prefix",
        "api.username": "reader",
        "api.password-file": str(file),
        "api.headers": "X-Tenant: a, b",
        "api.ca-file": str(file),
        "api.cert-file": str(file),
        "api.key-file": str(file),
        "api.proxy-url": "http://u:p@proxy.example:3128",
        "api.timeout": "1m30s",
        "api.concurrency": "64",
        "api.duty": "0.5",
        "api.page-size": "20",
        "api.max-response-bytes": "1.5MB",
        "api.timezone": "+10:00",
        "api.retries": "0",
        "poll.interval": "30",
        "poll.recheck-interval": "10m",
        "poll.sweep": "0",
        "poll.adopt": "0",
        "poll.history": "1d12h",
        "poll.settle-grace": "0",
        "poll.overdue-grace": "1m",
        "state.url": "postgresql+psycopg://db.example/jobs",
        "state.retention": "7d",
        "metrics.zero-hold": "2m",
        "metrics.label-limit": "50",
        "metrics.record-labels": "script_type",
        "metrics.duration-buckets": "1,30,5m",
        "web.listen-address": "[::1]:9000,localhost:9001",
        "web.config-file": str(file),
        "web.telemetry-path": "/jobs/metrics",
        "web.record-url": "https://jobs.example/#/record/{id}",
        "log.level": "debug",
        "log.format": "json",
    }


def test_one_text_means_the_same_in_all_three_places(tmp_path: Path) -> None:
    """Every setting can be given as flag, variable and key, with one result, which is not the default."""
    values = sample_values(tmp_path)
    infos = {info.name: info for info in catalog()}
    assert set(infos) - set(values) == {"config", "api.password", "api.token-file"}
    lines = []
    for group in list(NAMES)[1:]:
        lines.append(f"{group}:")
        lines += [
            f"  {infos[n].key.split('.')[1]}: '{v}'" for n, v in values.items() if infos[n].group == group
        ]
    by_flags = load([f"--{name}={value}" for name, value in values.items()], {})
    by_variables = load([], {infos[name].env: value for name, value in values.items()})
    path = write(tmp_path, "\n".join(lines))
    by_file = load(["--config", path], {})
    assert by_flags == by_variables == by_file.model_copy(update={"config": ""})
    for name in values:
        group, field = infos[name].key.split(".")
        assert getattr(getattr(by_flags, group), field) != getattr(getattr(Settings(), group), field), name


def test_yaml_does_not_guess(tmp_path: Path) -> None:
    """Unquoted text stays what it is where YAML itself would see an octal, a sexagesimal or a truth value."""
    text = "api: {username: no, password: 0123, timezone: +10:00, headers: {X-Day: 2001-01-01}}\n"
    api = load(["--config", write(tmp_path, text)], {}).api
    assert (api.username, api.password) == ("no", SecretStr("0123"))
    assert api.timezone.utcoffset(None) == timedelta(hours=10)
    assert api.headers == (("X-Day", SecretStr("2001-01-01")),)


def test_lists_are_repeated_flags_or_parts_of_a_text(tmp_path: Path) -> None:
    """A list comes as repeated flags, apart by commas, or as a list of the file, from one place only."""
    path = write(tmp_path, "web: {listen_address: [':1', ':2']}\nmetrics: {record_labels: []}\n")
    in_file = load(["--config", path], {})
    assert [str(address) for address in in_file.web.listen_address] == [":1", ":2"]
    assert in_file.metrics.record_labels == ()
    flags = ["--web.listen-address", "[::1]:3", "--web.listen-address=h:4,:0", "--config", path]
    assert [str(address) for address in load(flags, {}).web.listen_address] == ["[::1]:3", "h:4", ":0"]
    assert load(["--metrics.record-labels=script_type,provider,provider"], {}) == Settings()


@pytest.mark.parametrize(
    "text",
    [
        "{X-A: 'a, b', X-B: c}",
        "['X-A: a, b', 'X-B: c']",
        "[X-A: 'a, b', X-B: c]",
        '"X-A: a, b\\nX-B: c\\n"',
    ],
)
def test_headers_are_a_mapping_or_lines(tmp_path: Path, text: str) -> None:
    """Headers read as mapping, as list and as lines, keep their order, and commas are part of a value."""
    expected = (("X-A", SecretStr("a, b")), ("X-B", SecretStr("c")))
    assert load(["--config", write(tmp_path, f"api:\n  headers: {text}\n")], {}).api.headers == expected
    assert load(["--api.headers", "X-A: a, b", "--api.headers", "X-B:c"], {}).api.headers == expected
    assert load([], {"JOB_EXPORTER_API__HEADERS": "X-A: a, b\nX-B: c"}).api.headers == expected


def test_values_of_the_right_type_pass_unchanged() -> None:
    """Code may construct settings from values instead of texts, and what was read reads as itself."""
    api = ApiSettings(base_url="http://h", headers=(("X-A", SecretStr("b")),), timezone=UTC, timeout=0.25)
    web = WebSettings(listen_address=(ListenAddress(host="", port=0),))
    settings = Settings(api=api, web=web, state=StateSettings(url=SecretStr("sqlite:///x")))
    assert (settings.api.timeout, settings.web.listen_address[0].port) == (0.25, 0)
    values: dict[str, Any] = {name: dict(getattr(settings, name)) for name in list(NAMES)[1:]}
    again = Settings(**values)
    assert again == settings


def test_nothing_is_read_but_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment of the process nor its arguments leak into settings."""
    monkeypatch.setenv("JOB_EXPORTER_LOG__LEVEL", "error")
    monkeypatch.setenv("LOG", '{"level": "error"}')
    monkeypatch.setattr("sys.argv", ["job-exporter", "--log.level=error"])
    assert Settings().log.level == load([], {}).log.level == "info"


@pytest.mark.parametrize(
    "name",
    [
        "JOB_EXPORTER_SERVICE_HOST",
        "JOB_EXPORTER_SERVICE_PORT",
        "JOB_EXPORTER_SERVICE_PORT_HTTP",
        "JOB_EXPORTER_PORT",
        "JOB_EXPORTER_PORT_16868_TCP",
        "JOB_EXPORTER_PORT_16868_TCP_ADDR",
        "JOB_EXPORTER_HEADLESS_SERVICE_HOST",
        "JOB_EXPORTER_HEADLESS_PORT",
    ],
)
def test_service_links_of_kubernetes_are_no_settings(name: str) -> None:
    """A Service named job-exporter puts its own variables into the pods: they are passed over."""
    assert load([], {name: "tcp://10.0.0.1:16868"}) == Settings()


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        # unknown names, and arguments that are no settings
        (["--api.page-siz=3"], ["unknown flag --api.page-siz:", "--api.page-size"]),
        (["--api.page", "3"], ["unknown flag --api.page:", "--api.page-size"]),
        (["--web.config.fil=x"], ["unknown flag --web.config.fil:", "--web.config-file"]),
        (["--interval", "3s"], ["unknown flag --interval:", "--poll.interval"]),
        (["--api", '{"page_size": 3}'], ["unknown flag --api:", "nearest known one is --"]),
        (["--help"], ["unknown flag --help:"]),
        ([f"--api.pasword={CANARY}"], ["unknown flag --api.pasword:", "--api.password"]),
        ([f"--api.password:{CANARY}"], ["unknown flag --api.password:"]),
        (["--api.password", "my", CANARY], ["neither a flag nor the value of one", "quoted"]),
        ([f"-p{CANARY}"], ["neither a flag"]),
        (["--", CANARY], ["neither a flag"]),
        (["--api.password"], ["--api.password: expected one argument", "--flag=VALUE"]),
        (["--api.password", f"--{CANARY}"], ["--api.password: expected one argument", "--flag=VALUE"]),
        # the address of the platform
        (
            ["--api.base-url=jobs.example:6868"],
            ["--api.base-url: URL scheme should be 'http' or 'https'; write one"],
        ),
        (["--api.base-url=ftp://h"], ["URL scheme should be"]),
        (["--api.base-url=http://"], ["empty host"]),
        (["--api.base-url=http://[::1"], ["invalid IPv6 address"]),
        (["--api.base-url=http://a b"], ["should be a valid URL"]),
        (["--api.base-url=http://a\\b"], ["neither blanks nor backslashes"]),
        (["--api.base-url= "], ["should be a valid URL"]),
        ([f"--api.base-url=http://u:{CANARY}@h"], ["api.username and api.password-file"]),
        ([f"--api.base-url=http://h/?token={CANARY}"], ["query or fragment"]),
        ([f"--api.base-url=http://h/#{CANARY}"], ["query or fragment"]),
        (["--api.base-url=http://h/api/v1/job/record"], ["must end before /api/v1"]),
        # credentials
        (
            [f"--api.password={CANARY}"],
            ["api.username and api.password-file (or api.password) belong"],
        ),
        (["--api.username=u"], ["api.username and api.password-file (or api.password) belong"]),
        (["--api.username=u:v", f"--api.password={CANARY}"], ["--api.username: 'u:v' is no user name"]),
        (
            ["--api.username=u", f"--api.password={CANARY}", "--api.password-file=FILE"],
            ["exclude each other"],
        ),
        (["--api.username=u", "--api.password-file=FILE", "--api.token-file=FILE"], ["exclude each other"]),
        (
            ["--api.token-file=FILE", f"--api.headers=authorization: {CANARY}"],
            ["api.token-file and the header Authorization exclude each other"],
        ),
        (["--api.cert-file=FILE"], ["api.cert-file and api.key-file belong together"]),
        (["--api.key-file=FILE"], ["api.cert-file and api.key-file belong together"]),
        ([f"--api.headers=X-A {CANARY}"], ["--api.headers: header 1 is not of the form 'Name: value'"]),
        (["--api.headers=X-A: b", f"--api.headers=X A: {CANARY}"], ["header 2 is not of the form"]),
        ([f"--api.headers=X-A: {CANARY}\x00"], ["header 1 is not of the form"]),
        (["--api.headers=X-A: b", f"--api.headers=x-a: {CANARY}"], ["header x-a is given twice"]),
        (["--api.headers=content-type: text/plain"], ["set by the exporter itself"]),
        # files
        (["--api.ca-file=/nowhere/ca.pem"], ["--api.ca-file: cannot read '/nowhere/ca.pem': No such file"]),
        (["--api.ca-file=/"], ["it is a folder"]),
        (["--web.config-file=a\0b"], ["not a path"]),
        # numbers, durations, sizes, zones
        (["--api.timeout=fast"], ["--api.timeout: 'fast' is no duration", "15s, 5m, 24h, 30d"]),
        (["--api.timeout=0"], ["--api.timeout: input should be greater than 0", "'0'"]),
        (["--poll.interval=-1"], ["'-1' is no duration"]),
        (["--poll.interval=900ms"], ["--poll.interval: input should be greater than or equal to 1"]),
        (["--api.proxy-url=proxy:3128"], ["--api.proxy-url: URL scheme should be"]),
        (
            [f"--api.proxy-url=http://u:{CANARY}@proxy:99999"],
            ["--api.proxy-url: should be a valid URL, invalid port number"],
        ),
        (
            ["--api.base-url=http://h:99999"],
            ["--api.base-url: should be a valid URL, invalid port number"],
        ),
        (["--api.base-url=http://h:0"], ["--api.base-url: ", "a port from 1 to 65535"]),
        (["--poll.history=some"], ["--poll.history: 'some' is none of: none, all, a duration"]),
        (["--api.page-size=501"], ["--api.page-size: input should be less than or equal to 500", "'501'"]),
        (["--api.page-size=0"], ["greater than or equal to 1"]),
        (["--api.page-size=ten"], ["valid integer", "'ten'"]),
        (["--api.page-size="], ["valid integer"]),
        (["--api.duty=0"], ["--api.duty: input should be greater than 0"]),
        (["--api.duty=1.1"], ["less than or equal to 1"]),
        (["--api.duty=nan"], ["--api.duty: "]),
        (["--api.concurrency=65"], ["less than or equal to 64"]),
        (["--api.retries=-1"], ["greater than or equal to 0"]),
        (["--api.max-response-bytes=big"], ["'big' is no size", "64MiB"]),
        (["--api.max-response-bytes=1kB"], ["greater than or equal to 1024"]),
        (["--api.timezone=Asia/Shangai"], ["'Asia/Shangai' is no time zone", "Asia/Shanghai", "nearest"]),
        (["--api.timezone=+15:00"], ["'+15:00' is no time zone", "such as Asia/Shanghai, or an offset"]),
        (["--api.timezone=+0800"], ["such as Asia/Shanghai, or an offset such as +08:00"]),
        (["--api.timezone=CST"], ["such as Asia/Shanghai, or"]),
        (["--api.timezone=../../etc/passwd"], ["is no time zone"]),
        (["--api.timezone=Asia"], ["is no time zone"]),
        (["--api.timezone="], ["'' is no time zone"]),
        # metrics, web, state, log
        (
            ["--metrics.record-labels=provider,user"],
            ["should be 'provider' or 'script_type', not 'provider,user'"],
        ),
        (["--metrics.duration-buckets=5,1"], ["no list of ascending positive bounds"]),
        (["--metrics.duration-buckets=0,1"], ["no list of ascending positive bounds"]),
        (["--metrics.duration-buckets="], ["no list of ascending positive bounds"]),
        (["--metrics.duration-buckets=1,inf"], ["'1,inf' is no list of ascending"]),
        (["--metrics.label-limit=0"], ["greater than or equal to 1"]),
        (["--web.listen-address=16868"], ["'16868' is no address to listen on", ":16868"]),
        (["--web.listen-address=:65536"], ["no address to listen on"]),
        (["--web.listen-address=[1.2.3.4]:1"], ["no address to listen on"]),
        (["--web.listen-address=::1:9000"], ["no address to listen on", "[::1]:16868"]),
        (["--web.listen-address="], ["no address to listen on"]),
        (["--web.telemetry-path=/"], ["'/' is no path for metrics"]),
        (["--web.telemetry-path=/-/metrics"], ["not below /-/"]),
        (["--web.telemetry-path=/-"], ["not below /-/"]),
        (["--web.telemetry-path=/reference"], ["no page of the exporter"]),
        (["--web.telemetry-path=/api/failures"], ["no page of the exporter"]),
        (["--web.record-url=javascript:alert({id})"], ["is no link to a record"]),
        (["--web.record-url=https://h/record"], ["https://jobs.example/record/{id}"]),
        (["--web.record-url=https://h/{id}/{name}"], ["is no link to a record"]),
        (["--web.record-url=https://{id}.h/"], ["is no link to a record"]),
        (
            [f"--state.url=postgres://u:{CANARY}@h/d"],
            ["--state.url: the value is no address of a ledger", "sqlite:///"],
        ),
        (
            ["--log.level=loud"],
            ["--log.level: input should be 'debug', 'info', 'warning' or 'error'", "'loud'"],
        ),
        (["--log.format=text"], ["--log.format: input should be 'logfmt' or 'json'"]),
        (["--api.timeout=" + "x" * 500 + "\n"], ["…", "is no duration"]),
    ],
)
def test_a_bad_flag_is_one_clear_line(tmp_path: Path, argv: list[str], parts: list[str]) -> None:
    """Each mistake is told with the setting, what is wrong and what to write, and without any secret."""
    file = tmp_path / "file"
    file.touch()
    text = refusal([argument.replace("FILE", str(file)) for argument in argv])
    for part in parts:
        assert part in text
    assert len(text) < 300


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("JOB_EXPORTER_API_BASE_URL", "http://h", ["unknown variable", "JOB_EXPORTER_API__BASE_URL"]),
        ("JOB_EXPORTER_API__PASWORD", CANARY, ["unknown variable", "JOB_EXPORTER_API__PASSWORD"]),
        ("JOB_EXPORTER_PORT", "9000", ["unknown variable 'JOB_EXPORTER_PORT'"]),
        ("JOB_EXPORTER_WEB_SERVICE_HOSTS", "h", ["unknown variable"]),
        ("JOB_EXPORTER_API", "{}", ["unknown variable"]),
        ("JOB_EXPORTER_log__level", "debug", ["unknown variable", "JOB_EXPORTER_LOG__LEVEL"]),
        ("JOB_EXPORTER_POLL__INTERVAL", "soon", ["JOB_EXPORTER_POLL__INTERVAL: 'soon' is no duration"]),
        (
            "JOB_EXPORTER_CONFIG",
            "/nowhere.yaml",
            ["cannot read the settings file '/nowhere.yaml' (No such file"],
        ),
    ],
)
def test_a_bad_variable_is_one_clear_line(name: str, value: str, parts: list[str]) -> None:
    """A mistake in the environment is told with the variable's name, and the nearest known one."""
    text = refusal([], {name: value})
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("- a\n- b\n", ["is no mapping of settings", "api: {base_url: URL}"]),
        (CANARY, ["is no mapping of settings"]),
        ("apy: {}\n", ["unknown key apy:", "nearest known one is api"]),
        ("api: {base-url: http://h}\n", ["unknown key api.base-url:", "api.base_url"]),
        (f"api: {{pasword: {CANARY}}}\n", ["unknown key api.pasword:", "api.password"]),
        (f"api: {{password:{CANARY}}}\n", ["unknown key api.password:"]),
        ("config: other.yaml\n", ["unknown key config:"]),
        ("5: {}\n", ["unknown key 5:"]),
        (f"api: {CANARY}\n", ["key api: must hold settings, such as api: {base_url: …}"]),
        ("poll: {interval: [1, 2]}\n", ["key poll.interval: ['1', '2'] is no duration"]),
        ("api: {page_size: {a: b}}\n", ["key api.page_size: input should be a valid integer"]),
        (
            f"api: {{username: u, password: [{CANARY}]}}\n",
            ["key api.password: input should be a valid string"],
        ),
        ("api: {username: [u]}\n", ["key api.username: ['u'] is no user name"]),
        ("api: {ca_file: [a]}\n", ["key api.ca_file: input is not a valid path"]),
        (f"api: {{headers: {{X-A: [{CANARY}]}}}}\n", ["key api.headers: header 1"]),
        (f"api: {{headers: [[{{X A: {CANARY}}}]]}}\n", ["key api.headers: header 1"]),
        ("api: {headers: [null]}\n", ["key api.headers: header 1"]),
        ("api: {base_url: [h]}\n", ["key api.base_url: input should be a valid string"]),
        ("api: {timezone: [UTC]}\n", ["key api.timezone: ['UTC'] is no time zone"]),
        ("web: {record_url: [h]}\n", ["key web.record_url: ['h'] is no link to a record"]),
        ("web: {listen_address: [{a: b}]}\n", ["key web.listen_address:", "is no address to listen on"]),
        ("web: {telemetry_path: [a]}\n", ["key web.telemetry_path:", "is no path for metrics"]),
        ("state: {url: [a]}\n", ["key state.url: the value is no address of a ledger"]),
        (
            "metrics: {record_labels: [{a: b}]}\n",
            ["key metrics.record_labels: input should be 'provider' or"],
        ),
        ("log: {level: [a]}\n", ["key log.level: input should be"]),
        ("log: {level: info}\nlog: {format: json}\n", ["duplicate key at line 2, column 1"]),
        ("log:\n  level: info\n  level: debug\n", ["duplicate key at line 3, column 3"]),
        (f"api:\n  password: *{CANARY}\n", ["not valid YAML at line 2, column 13", "need quotes"]),
        (f"api:\n  password: @{CANARY}\n", ["not valid YAML at line 2, column 13"]),
        (f'api:\n  password: "\\{CANARY}"\n', ["not valid YAML at line 2"]),
        (f"api: {{password: {CANARY}\n", ["not valid YAML"]),
        (f"api: &a\n  password: *a\n# {CANARY}\n", ["not valid YAML at line 1"]),
        (f"? [{CANARY}]\n: b\n", ["not valid YAML"]),
        ("api: \x07\n", ["characters that YAML forbids"]),
        ("api: " + "[" * 5000, ["nests too deep"]),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, content: str, parts: list[str]) -> None:
    """A mistake in the file is told with its name, the key or the line, and without repeating the content."""
    path = write(tmp_path, content)
    text = refusal(["--config", path])
    assert repr(path) in text or quote(path) in text
    for part in parts:
        assert part in text


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A settings file that is missing, a folder or not text is named with the reason."""
    (tmp_path / "settings.bin").write_bytes(b"\xff\xfe\x00")
    assert "Is a directory" in refusal(["--config", str(tmp_path)])
    assert "not UTF-8" in refusal(["--config", str(tmp_path / "settings.bin")])


def test_a_file_without_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that this user may not read is refused at start, whoever runs the test."""
    path = tmp_path / "ca.pem"
    path.touch(mode=0)
    monkeypatch.setattr("os.access", lambda _path, _mode: False)  # root reads everything
    assert "permission denied" in refusal([f"--api.ca-file={path}"])


def test_a_named_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password may come by a pipe, which can be read once only; `~` is the home of the user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    api = load(["--api.username=u", "--api.password-file=~/pipe", "--api.token-file="], {}).api
    assert (api.password_file, api.token_file) == (tmp_path / "pipe", None)


def test_the_platform_is_asked_for_only_where_it_is_needed() -> None:
    """A missing address of the platform is no error of reading; who needs it hears of the three ways."""
    with pytest.raises(SettingsError) as caught:
        load([], {}).require_platform()
    for part in ("--api.base-url", "JOB_EXPORTER_API__BASE_URL", "base_url", "--config"):
        assert part in str(caught.value)
    assert load(["--api.base-url=http://h:6868/"], {}).require_platform() == "http://h:6868"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://jobs.example:6868", "http://jobs.example:6868"),
        ("HTTP://Jobs.Example:80//", "http://jobs.example"),
        ("https://h:443/a/b/", "https://h/a/b"),
        ("http://h:443", "http://h:443"),
        (" http://[::1]:6868/ ", "http://[::1]:6868"),
    ],
)
def test_a_platform_has_one_spelling(text: str, expected: str) -> None:
    """The ledger belongs to one address: what names the same platform reads as the same text."""
    for spelling in (text, expected):
        assert load([f"--api.base-url={spelling}"], {}).require_platform() == expected


def test_settings_are_frozen_and_refuse_unknown_fields() -> None:
    """Nothing changes settings once they are read; groups don't swallow mistyped names."""
    settings = load([], {})
    for model, field in ((settings, "log"), (settings.api, "page_size"), (settings.log, "level")):
        with pytest.raises(ValidationError):
            setattr(model, field, None)
    values: dict[str, Any] = {"pasword": CANARY}
    with pytest.raises(ValidationError) as caught:
        ApiSettings(**values)
    assert CANARY not in str(caught.value)


def test_secrets_are_masked_wherever_settings_are_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither repr, str, a dump, a log line nor an error of validation shows a secret."""
    settings = load(
        [f"--api.password={CANARY}", "--api.username=u", f"--state.url=postgresql://u:{CANARY}@h/d"],
        {"JOB_EXPORTER_API__HEADERS": f"X-Key: {CANARY}"},
    )
    logging.getLogger("test").warning("%s %r", settings, settings.api)
    shown = [
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        caplog.text,
    ]
    assert all(CANARY not in text for text in shown)
    assert settings.api.password is not None
    assert settings.api.password.get_secret_value() == CANARY
    assert CANARY in settings.state.url.get_secret_value()
    with pytest.raises(ValidationError) as caught:
        ApiSettings(password=SecretStr(CANARY))
    assert CANARY not in str(caught.value)


def test_an_error_can_be_passed_on() -> None:
    """An error keeps its line when it is pickled, as worker processes do."""
    error = SettingsError("one\n  line")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "one line"


@given(st.integers(0, 9999), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_durations_are_the_sum_of_their_parts(
    days: int, hours: int, minutes: int, seconds: int, ms: int
) -> None:
    """Any choice of units in descending order reads as its seconds, and so do plain seconds."""
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"), (ms, "ms")]
    text = "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
    expected = timedelta(
        days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=ms
    ).total_seconds()
    assert duration(text) == pytest.approx(expected, abs=1e-6)
    assert duration(f" {expected:.3f} ") == pytest.approx(expected, abs=1e-6)


@given(
    st.one_of(st.text(alphabet="0123456789.dhms +-_eE١²"), st.text(), st.floats(), st.booleans(), st.none())
)
def test_a_duration_is_sound_or_refused(value: object) -> None:
    """Whatever is given, a duration is finite and not negative, or the error says what to write."""
    try:
        seconds = duration(value)
    except ValueError as error:
        told = "15s, 5m, 24h, 30d" in str(error)
    else:
        told = math.isfinite(seconds) and seconds >= 0
    assert told


@pytest.mark.parametrize(
    "text", ["", "s", "1m1h", "1h 30m", "1d1d", "1.s", ".5", "1e3", "inf", "١s", "9" * 400]
)
def test_texts_that_are_no_durations(text: str) -> None:
    """Units stand in descending order, once each, behind ASCII digits."""
    with pytest.raises(ValueError, match="is no duration"):
        duration(text)


def test_history_is_seconds_before_the_first_start() -> None:
    """`none` is no time, `all` has no limit."""
    read = [load([f"--poll.history={text}"], {}).poll.history for text in ("none", "all", "24h")]
    assert read == [0, None, 86400]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64MiB", 2**26),
        ("64mb", 64_000_000),
        ("1.5 kB", 1500),
        ("1GiB", 2**30),
        ("7000B", 7000),
        ("7000", 7000),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    """Sizes have decimal and binary units, in any case of letters."""
    assert load([f"--api.max-response-bytes={text}"], {}).api.max_response_bytes == expected


@pytest.mark.parametrize("text", ["", "MiB", "1e3", "-1", "1.5XB"])
def test_texts_that_are_no_sizes(text: str) -> None:
    """The error repeats what is no size, and says what to write."""
    assert "is no size; write 64MiB, 64MB or plain bytes" in refusal([f"--api.max-response-bytes={text}"])


@given(
    st.one_of(
        st.just(""), st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True), st.ip_addresses(v=6).map(str)
    )
)
def test_addresses_read_as_they_are_written(host: str) -> None:
    """The text of an address to listen on reads as that address."""
    address = ListenAddress(host=host, port=9000)
    assert load([f"--web.listen-address={address}"], {}).web.listen_address == (address,)
    assert WebSettings(listen_address=(address,)).listen_address == (address,)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("UTC", 0), ("Z", 0), ("+08:00", 8), ("-03:30", -3.5), ("Asia/Shanghai", 8), ("+14:00", 14)],
)
def test_time_zones(text: str, hours: float) -> None:
    """A zone is an IANA name or a fixed offset."""
    zone = load([f"--api.timezone={text}"], {}).api.timezone
    assert datetime(2024, 1, 1, tzinfo=zone).utcoffset() == timedelta(hours=hours)


def fields_of(model: type[BaseModel], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found |= fields_of(info.annotation, f"{path}{name}.")
        else:
            found[f"{path}{name}"] = info.annotation
    return found


def holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(holds_secret(part) for part in get_args(annotation))


def test_the_catalog_is_the_model_is_the_design() -> None:
    """The table of settings holds each field of the model once, under the names of the public interface."""
    infos = catalog()
    public = [f"{group}.{name}".lstrip(".") for group, names in NAMES.items() for name in names.split()]
    assert [info.name for info in infos] == public
    fields = fields_of(Settings)
    assert [info.key for info in infos] == list(fields)
    for info in infos:
        assert info.flag == f"--{info.name}"
        assert info.env == "JOB_EXPORTER_" + info.name.replace(".", "__").replace("-", "_").upper()
        assert info.key == info.name.replace("-", "_")
        assert re.fullmatch(r"[A-Z][^\n]+\.", info.description), info.name
        assert info.secret == holds_secret(fields[info.key]), info.name
        assert info.repeatable == (getattr(fields[info.key], "__origin__", None) is tuple), info.name


def test_defaults_in_the_catalog_read_as_the_defaults() -> None:
    """The text that the documentation shows as a default gives the value that holds without it."""
    argv = [f"--{info.name}={info.default}" for info in catalog() if info.default]
    assert load(argv, {}) == Settings()


def test_help_tells_every_setting() -> None:
    """The help names each flag with what to write, its default and meaning, and the other two ways once."""
    text = help_text()
    words = " ".join(text.split())
    for info in catalog():
        assert f"  --{info.name}=" in text
        assert info.description in words
        assert f"Default: {info.default}" in words
    for part in ("JOB_EXPORTER_API__BASE_URL=URL", "api: {base_url: URL}", "JOB_EXPORTER_CONFIG", "64MiB"):
        assert part in text
    assert text.count("JOB_EXPORTER_API__BASE_URL") == 1


def test_types_are_those_that_others_build_on() -> None:
    """A zone is a tzinfo, paths are Paths or none, and everything repeatable is a tuple."""
    settings = Settings(metrics=MetricsSettings(record_labels=()))
    assert isinstance(settings.api.timezone, tzinfo)
    assert settings.api.ca_file is None
    assert settings.metrics.record_labels == ()
    assert isinstance(settings.metrics.duration_buckets, tuple)


def test_spellings_of_other_exporters(tmp_path: Path) -> None:
    """`--config.file` and `--web.config.file`, with a blank or an equals sign; `warn` everywhere."""
    file = tmp_path / "settings.yaml"
    file.write_text("log: {level: WARN}\n")
    for flags in ([f"--config.file={file}"], ["--config.file", str(file)]):
        assert load(flags, {}).log.level == "warning"
    web = load([f"--web.config.file={file}", "--log.level=warn"], {})
    assert (str(web.web.config_file), web.log.level) == (str(file), "warning")
    assert load([], {"JOB_EXPORTER_LOG__LEVEL": "warn"}).log.level == "warning"
    with pytest.raises(SettingsError, match=r"unknown flag --config\.fil: the nearest known one is --"):
        load(["--config.fil=x"], {})
