"""The web configuration file: what is understood, and what each mistake is told."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web.config import FileConfig, HttpConfig, RateConfig, WebError, parse
from exporter.web.reload import build
from tests.harness.web import hashed

ALICE = hashed("open sesame")


def parsed(folder: Path, text: str | bytes) -> FileConfig:
    file = folder / "web.yml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return parse(file)


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "{}", "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n"],
)
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    """Sections without content are as good as none: plain HTTP for everyone."""
    assert parsed(tmp_path, text) == FileConfig()


def test_a_user_may_have_any_name(tmp_path: Path) -> None:
    """Names that YAML would take for something else are names."""
    users = parsed(
        tmp_path, f"basic_auth_users: {{yes: {ALICE}, 42: {ALICE}, 1e3: {ALICE}}}"
    ).basic_auth_users
    assert list(users) == ["yes", "42", "1e3"]


def test_every_key_of_the_format_is_understood(tmp_path: Path) -> None:
    """A file with all keys is read; paths are relative to it, absolute ones stay."""
    config = parsed(
        tmp_path,
        f"""
tls_server_config:
  cert_file: tls/server.crt
  key_file: /etc/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus.example, 10.0.0.1]
  min_version: TLS13
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519]
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: "default-src 'self'"
    Strict-Transport-Security: max-age=31536000
    X-Content-Type-Options: nosniff
    X-Frame-Options: sameorigin
    X-XSS-Protection: ""
basic_auth_users:
  alice: {ALICE}
rate_limit:
  interval: 1m1.5s
  burst: 20
""",
    )
    assert config.tls_server_config is not None
    assert config.files() == (
        tmp_path / "tls/server.crt",
        Path("/etc/server.key"),
        tmp_path / "ca.crt",
    )
    assert config.tls_server_config.client_allowed_sans == ("prometheus.example", "10.0.0.1")
    assert config.http_server_config.headers["X-Frame-Options"] == "sameorigin"
    assert config.basic_auth_users == {"alice": ALICE}
    assert config.rate_limit == RateConfig(interval=61.5, burst=20)
    assert ALICE not in repr(config)


def test_inline_pem_is_taken_and_not_shown(tmp_path: Path) -> None:
    """Certificate and key may stand in the file; the key is in no repr."""
    config = parsed(tmp_path, "tls_server_config: {cert: C, key: CANARY, client_ca: A}")
    assert config.tls_server_config is not None
    assert (config.tls_server_config.key, config.files()) == ("CANARY", ())
    assert "CANARY" not in repr(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls_server_confg: {}", "unknown key tls_server_confg; the nearest known one is tls_server_config"),
        ("tls_server_config: {cert: x, keyfile: y}", "tls_server_config.keyfile.*tls_server_config.key_file"),
        ("http_server_config: {http3: true}", "http_server_config.http3.*http_server_config.http2"),
        ("rate_limit: {brust: 3}", "rate_limit.brust.*rate_limit.burst"),
        ("1: 2", "unknown key 1;"),
        ('"a\\nb": 2', "unknown key a;"),
        ("[1]", "the file must be a mapping"),
        ("tls_server_config: abc", "tls_server_config must be a mapping"),
        ("basic_auth_users: [alice]", r"basic_auth_users: Expected `object`, got `array`"),
        ("tls_server_config: {cert_file: [1]}", r"config.cert_file: Expected `str \| null`, got `array`"),
        ("tls_server_config: {cipher_suites: X}", "tls_server_config.cipher_suites: Expected `array`"),
        ("http_server_config: {http2: maybe}", "http_server_config.http2: Expected `bool`, got `str`"),
        ("http_server_config: {headers: {X-Foo: a}}", "headers: X-Foo cannot be set; the nearest that can"),
        ("http_server_config: {headers: {X-Frame-Options: allow}}", "must be deny or sameorigin"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\r\\nB: c"}}', "no header can contain"),
        ("rate_limit: {interval: 1 day, burst: 1}", "rate_limit.interval: not a duration"),
        ("rate_limit: {interval: 1s}", "rate_limit.burst must be at least 1"),
        ("rate_limit: {interval: 1s, burst: x}", "rate_limit.burst: Expected `int`"),
        ("basic_auth_users: {alice: CANARY}", "basic_auth_users.alice: not a bcrypt hash"),
        ("basic_auth_users: {alice: $2y$10$" + 53 * "a" + "}", "basic_auth_users.alice: not a bcrypt hash"),
        ("basic_auth_users: {'a:b': $2y$10$" + 53 * "a" + "}", "a colon"),
        ("basic_auth_users: {alice: CANARY, alice: CANARY}", "duplicate key at line 1"),
        ("a: b\nkey: 'CANARY", "not valid YAML at line 2, column 13"),
        ("? [a]\n: b", "not valid YAML"),
        ("tls_server_config: !!python/object:os.system CANARY", "must be a mapping"),
        (b"\xff\xfe\x00", "characters that YAML forbids"),
        ("basic_auth_users: {alice: 2026-13-01}", "not a bcrypt hash"),
        ("[" * 5000, "nests too deep"),
        ('tls_server_config: {key_file: "a\\0b"}', "no path can contain"),
        ("basic_auth_users: {alice:$2y$10$CANARY}", "a colon"),
        ("basic_auth_users: {$2y$10$CANARY: alice}", "not a bcrypt hash"),
        ("{alice:$2y$10$CANARY}", "unknown key alice;"),
        ("basic_auth_users: {alice: *CANARY}", "not valid YAML at line 1, column 27; .* need quotes"),
        ("basic_auth_users: {alice: !CANARY!x y}", "not valid YAML"),
        ("tls_server_config: {key: x, -----BEGIN CANARY: y}", "unknown key tls_server_config.-----BEGIN;"),
        ("http_server_config: {headers: {'X-Key: CANARY': y}}", "X-Key cannot be set"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line_that_names_it(tmp_path: Path, text: str | bytes, message: str) -> None:
    """The line names the file, the key and what to do, and repeats no value that may be secret."""
    with pytest.raises(WebError, match=message) as raised:
        parsed(tmp_path, text)
    line = str(raised.value)
    assert str(tmp_path / "web.yml") in line
    assert "\n" not in line
    assert "CANARY" not in line


@pytest.mark.parametrize(("name", "reason"), [("missing.yml", "No such file"), (".", "Is a directory")])
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, reason: str) -> None:
    """The reason is the system's."""
    with pytest.raises(WebError, match=f"cannot read the web configuration file .*: {reason}"):
        parse(tmp_path / name)


def test_defaults_are_the_toolkits() -> None:
    """TLS 1.2 to 1.3, no client certificate, no limit."""
    assert HttpConfig().http2
    assert RateConfig() == RateConfig(interval=0.0, burst=0)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("250ms", 0.25), ("2h3m", 7380.0), ("0s", 0.0)])
def test_durations_are_read_as_go_reads_them(tmp_path: Path, text: str, seconds: float) -> None:
    """A number with its unit, several in a row, or 0."""
    assert parsed(tmp_path, f"rate_limit: {{interval: {text}, burst: 1}}").rate_limit.interval == seconds


PIECES = (
    """tls_server_config:·|cert_file|cert|key|basic_auth_users:·|a:·|rate_limit:·|interval|burst|headers
|:·|·|··|{|}|[|]|,|-·|?·|*a|&a·|!!int·|!!binary·|!!float·|<<|~|'|"|0|-1|1s|#|%|@|true|0x|1:2:3|.inf|\\0
""".replace("\n", "")
    .replace("·", " ")
    .split("|")
)


@given(st.lists(st.sampled_from([*PIECES, "|", "\n", "9" * 5000]), max_size=30))
def test_no_file_brings_another_error(tmp_path_factory: pytest.TempPathFactory, pieces: list[str]) -> None:
    """Whatever the file holds, it is read or refused with a WebError."""
    file = tmp_path_factory.getbasetemp() / "fuzzed.yml"
    file.write_text("".join(pieces))
    with suppress(WebError):
        build(parse(file))
