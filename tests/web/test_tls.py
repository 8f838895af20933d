"""TLS: who is answered, who is refused, what follows a changed file, and what each mistake is told."""

import itertools
import shutil
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from structlog.testing import capture_logs

from exporter.web.config import WebError
from exporter.web.reload import Watcher
from tests.harness.web import connected, get, hashed, read_answer, request, rewrite, serving, shown

CA = trustme.CA()
OTHER_CA = trustme.CA()
SERVER = CA.issue_cert("localhost")
CLIENT = CA.issue_cert("prometheus.example", "::1", "someone@example.com")
STRANGER = OTHER_CA.issue_cert("prometheus.example")
BASE = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
MUTUAL = BASE + "  client_ca_file: ca.pem\n  client_auth_type: "
REQUIRED = "RequireAndVerifyClientCert"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    install(tmp_path, SERVER)
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path


def install(folder: Path, certificate: trustme.LeafCert) -> None:
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")


def write(folder: Path, text: str) -> Path:
    rewrite(folder / "web.yml", text)
    return folder / "web.yml"


def client(
    certificate: trustme.LeafCert | None = None, *, authority: trustme.CA = CA, **settings: Any
) -> ssl.SSLContext:
    """Make the TLS side of a client that verifies the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    if certificate:
        certificate.configure_cert(context)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def with_curve(name: str) -> ssl.SSLContext:
    """Make a client that knows one curve only."""
    context = client()
    context.set_ecdh_curve(name)
    return context


REFUSED = (ssl.SSLError, ConnectionError, EOFError)


async def test_metrics_come_over_tls_and_not_over_plain_http(folder: Path) -> None:
    """TLS 1.3 is spoken, HTTP/1.1 agreed on; a client without TLS gets an error."""
    async with serving(file=write(folder, BASE)) as web:
        context = client()
        context.set_alpn_protocols(["h2", "http/1.1"])
        async with connected(web.ports[0], context) as (reader, writer):
            writer.write(request())
            assert (await read_answer(reader)).body == shown().body
            session = writer.get_extra_info("ssl_object")
            assert (session.version(), session.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        assert (await get(web)).status == 400
        assert (await get(web, tls=client())).status == 200


async def test_old_tls_is_refused(folder: Path) -> None:
    """A client that offers TLS 1.1 at best is refused; with 1.2 it is answered."""
    context = client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(file=write(folder, BASE)) as web:
        with pytest.raises(REFUSED):
            await get(web, tls=context)
        assert (await get(web, tls=client(maximum_version=ssl.TLSVersion.TLSv1_2))).status == 200


@pytest.mark.parametrize(
    ("kind", "without", "stranger", "known"),
    [
        ("NoClientCert", True, True, True),
        ("RequestClientCert", True, True, True),
        ("VerifyClientCertIfGiven", True, False, True),
        ("RequireAndVerifyClientCert", False, False, True),
        ("RequireAnyClientCert", False, False, True),
        ("RequireClientCert", False, False, True),
    ],
)
async def test_client_certificates(
    folder: Path, kind: str, without: bool, stranger: bool, known: bool
) -> None:
    """Each policy answers whom it says: no certificate, one of another authority, one of ours."""
    text = BASE + "  client_auth_type: NoClientCert\n" if kind == "NoClientCert" else MUTUAL + kind
    async with serving(file=write(folder, text)) as web:
        for certificate, answered in ((None, without), (STRANGER, stranger), (CLIENT, known)):
            if answered:
                assert (await get(web, tls=client(certificate))).status == 200
            else:
                with pytest.raises(REFUSED):
                    await get(web, tls=client(certificate))


@pytest.mark.parametrize(
    ("allowed", "answered"),
    [
        ("[nobody, prometheus.example]", True),
        ("[someone@example.com]", True),
        ("['0:0:0:0:0:0:0:1']", True),
        ("['::1']", True),
        ("[example, '*.example', '::2']", False),
        ("[]", False),
    ],
)
async def test_a_client_certificate_must_have_an_allowed_name(
    folder: Path, allowed: str, answered: bool
) -> None:
    """One of its alternative names, exactly, must be listed; IP addresses in any spelling."""
    text = MUTUAL + f"RequireAndVerifyClientCert\n  client_allowed_sans: {allowed}"
    async with serving(file=write(folder, text)) as web:
        if answered:
            assert (await get(web, tls=client(CLIENT))).status == 200
        else:
            with pytest.raises(REFUSED):
                await get(web, tls=client(CLIENT))


@pytest.mark.parametrize("prefer", ["true", "false"])
async def test_cipher_suites_and_curve_can_be_chosen(folder: Path, prefer: str) -> None:
    """Go's names choose what OpenSSL offers; a client without any of it is refused."""
    text = BASE + (
        f"  max_version: TLS12\n  curve_preferences: [CurveP384]\n  prefer_server_cipher_suites: {prefer}\n"
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]"
    )
    async with serving(file=write(folder, text)) as web:
        async with connected(web.ports[0], client()) as (_, writer):
            session = writer.get_extra_info("ssl_object")
            assert session.version() == "TLSv1.2"
            assert session.cipher()[0].endswith("AES256-GCM-SHA384")
        narrow = client()
        narrow.set_ciphers("ECDHE+AES128")
        with pytest.raises(REFUSED):
            await get(web, tls=narrow)
        other_curve = client()
        other_curve.set_ecdh_curve("prime256v1")
        with pytest.raises(REFUSED):
            await get(web, tls=other_curve)


@pytest.mark.skipif(hasattr(ssl.SSLContext, "set_groups"), reason="all curves are used")
@pytest.mark.parametrize(
    ("curves", "used", "refused"),
    [
        ("CurveP521, CurveP256, X25519", "prime256v1", "secp384r1"),
        ("CurveP384, CurveP521", "secp384r1", "prime256v1"),
    ],
)
async def test_of_several_curves_one_is_used(folder: Path, curves: str, used: str, refused: str) -> None:
    """P-256 if it is listed, as every client has it, else the first; one that is not listed is refused."""
    with capture_logs() as logs:
        async with serving(file=write(folder, BASE + f"  curve_preferences: [{curves}]")) as web:
            context = client()
            context.set_ecdh_curve(used)
            assert (await get(web, tls=context)).status == 200
            context = client()
            context.set_ecdh_curve(refused)
            with pytest.raises(REFUSED):
                await get(web, tls=context)
    warnings = [line for line in logs if line["event"] == "this Python can use one TLS curve only"]
    assert [line["curve"] for line in warnings] == [used]


async def test_without_a_client_ca_those_without_a_certificate_are_served(folder: Path) -> None:
    """VerifyClientCertIfGiven then verifies against the system's authorities, as in the toolkit."""
    async with serving(file=write(folder, BASE + "  client_auth_type: VerifyClientCertIfGiven")) as web:
        assert (await get(web, tls=client())).status == 200
        with pytest.raises(REFUSED):
            await get(web, tls=client(CLIENT))


@pytest.mark.parametrize(
    ("text", "context", "alert", "reason"),
    [
        (MUTUAL + REQUIRED, client(), "certificate required", "peer did not return a certificate"),
        (
            MUTUAL + REQUIRED,
            client(maximum_version=ssl.TLSVersion.TLSv1_2),
            "handshake failure",
            "peer did not return a certificate",
        ),
        (
            MUTUAL + REQUIRED,
            client(STRANGER),
            "unknown ca",
            "certificate verify failed: unable to get local issuer certificate",
        ),
        (
            BASE + "  min_version: TLS13",
            client(maximum_version=ssl.TLSVersion.TLSv1_2),
            "protocol version",
            "unsupported protocol",
        ),
        (
            BASE + "  curve_preferences: [CurveP384]",
            with_curve("prime256v1"),
            "handshake failure",
            "no suitable key share",
        ),
    ],
    ids=["none", "none in TLS 1.2", "stranger", "version", "curve"],
)
async def test_a_refused_client_is_told_why_and_so_is_the_log(
    folder: Path, text: str, context: ssl.SSLContext, alert: str, reason: str
) -> None:
    """The client gets OpenSSL's alert; one line of the log names the reason, however often it occurs."""
    async with serving(file=write(folder, text)) as web:
        with capture_logs() as logs:
            for _ in range(3):
                with pytest.raises(ssl.SSLError) as refused:
                    await get(web, tls=context)
                assert alert in str(refused.value).replace("_", " ").lower()
    assert logs == [
        {"event": "TLS client refused", "reason": reason, "client": "127.0.0.1", "log_level": "warning"}
    ]


async def test_a_client_without_tls_is_told_so(folder: Path) -> None:
    """Plain HTTP to a TLS port is answered in plain HTTP, as Go does, and logged; the connection ends."""
    async with serving(file=write(folder, BASE)) as web:
        with capture_logs() as logs:
            async with connected(web.ports[0]) as (reader, writer):
                writer.write(request())
                answer = await read_answer(reader)
                assert (answer.status, await reader.read()) == (400, b"HTTP request to an HTTPS server\n")
    assert [line["reason"] for line in logs] == ["http request"]


async def test_a_refused_client_cannot_send_on(folder: Path) -> None:
    """After the alert nothing more is read, and the connection ends soon."""
    async with serving(file=write(folder, BASE)) as web, connected(web.ports[0]) as (reader, writer):
        writer.write(request() + b"x" * 50_000_000)
        await reader.readline()
        for _ in range(5):
            await get(web, tls=client())
        assert writer.transport.get_write_buffer_size() > 40_000_000
        with pytest.raises(ConnectionError):
            await reader.read()


async def test_suites_of_tls_13_alone_mean_tls_13(folder: Path) -> None:
    """A list without any suite for TLS 1.2 leaves TLS 1.3."""
    text = BASE + "  cipher_suites: [TLS_AES_128_GCM_SHA256]"
    async with serving(file=write(folder, text)) as web:
        assert (await get(web, tls=client())).status == 200
        with pytest.raises(REFUSED):
            await get(web, tls=client(maximum_version=ssl.TLSVersion.TLSv1_2))


async def test_pem_may_stand_in_the_file(folder: Path) -> None:
    """Certificate, key and client authority are taken inline as well."""

    def block(name: str, file: str) -> str:
        lines = (folder / file).read_text().splitlines()
        return f"  {name}: |\n" + "".join(f"    {line}\n" for line in lines)

    text = "tls_server_config:\n" + block("cert", "server.pem") + block("key", "server.key")
    text += block("client_ca", "ca.pem") + "  client_auth_type: RequireAndVerifyClientCert"
    async with serving(file=write(folder, text)) as web:
        assert (await get(web, tls=client(CLIENT))).status == 200
        with pytest.raises(REFUSED):
            await get(web, tls=client())


async def test_configured_headers_are_on_every_answer(folder: Path) -> None:
    """The file's headers win over ours, on errors too; a blank one leaves ours."""
    text = """http_server_config: {headers: {Strict-Transport-Security: max-age=5,
        X-Frame-Options: sameorigin, X-Content-Type-Options: "",
        Content-Security-Policy: "default-src https:"}}"""
    async with serving(file=write(folder, text)) as web:
        for path in ("/", "/no"):
            headers = (await get(web, path)).headers
            assert headers["strict-transport-security"] == "max-age=5"
            assert headers["x-frame-options"] == "sameorigin"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"] == "default-src https:"


async def test_a_new_certificate_is_used_without_restart(folder: Path) -> None:
    """The connection after the files are replaced has the new certificate; open ones go on."""
    async with serving(file=write(folder, BASE)) as web:
        async with connected(web.ports[0], client()) as (reader, writer):
            writer.write(request(close=False))
            await read_answer(reader)
            install(folder, OTHER_CA.issue_cert("localhost"))
            assert (await get(web, tls=client(authority=OTHER_CA))).status == 200
            writer.write(request())
            assert (await read_answer(reader)).status == 200
        with pytest.raises(REFUSED):
            await get(web, tls=client())


USERS = f"basic_auth_users: {{a: {hashed('b')}}}\n"


async def test_tls_and_users_can_be_turned_on(folder: Path) -> None:
    """A stricter file holds from the next connection and request on."""
    async with serving(file=write(folder, "")) as web:
        assert (await get(web)).status == 200
        write(folder, USERS)
        assert (await get(web)).status == 401
        write(folder, BASE + USERS)
        assert (await get(web, tls=client())).status == 401


STRICT = MUTUAL + REQUIRED + "\n  client_allowed_sans: [prometheus.example]\n  min_version: TLS13\n" + USERS


@pytest.mark.parametrize(
    ("weak", "key"),
    [
        ("", "basic_auth_users"),
        ("# nothing", "basic_auth_users"),
        (BASE, "basic_auth_users"),
        (USERS, "tls_server_config"),
        (BASE + USERS, "tls_server_config.client_auth_type"),
        (
            STRICT.replace(REQUIRED, "VerifyClientCertIfGiven").replace(
                "  client_allowed_sans: [prometheus.example]\n", ""
            ),
            "tls_server_config.client_auth_type",
        ),
        (
            STRICT.replace("  client_allowed_sans: [prometheus.example]\n", ""),
            "tls_server_config.client_allowed_sans",
        ),
        (STRICT.replace("  min_version: TLS13\n", ""), "tls_server_config.min_version"),
    ],
    ids=itertools.count(),  # a hash differs from process to process
)
async def test_a_weaker_file_is_refused(folder: Path, weak: str, key: str) -> None:
    """Without TLS or users, or less strict: the previous configuration stays, and one line names the key."""
    async with serving(file=write(folder, STRICT)) as web:
        with capture_logs() as logs:
            write(folder, weak)
            for _ in range(3):
                assert (await get(web, tls=client(CLIENT))).status == 401
            assert (await get(web)).status == 400
            assert web.reload() is False
        errors = [line["error"] for line in logs if line["log_level"] == "error"]
        assert len(errors) == 2  # when the file changed, and at the reload that was asked for
        assert f": {key} is missing or weaker than before; restart to allow that" in errors[0]
        write(folder, STRICT.replace(USERS, USERS.replace("{a:", "{b:")))
        with capture_logs() as logs:
            assert (await get(web, tls=client(CLIENT))).status == 401
        assert [line["event"] for line in logs] == ["web configuration reloaded"]


async def test_a_file_that_is_written_bit_by_bit_never_opens_the_server(folder: Path) -> None:
    """At no length of a half-written file is a stranger let in, or a client without TLS or certificate."""
    text = USERS + STRICT.replace(USERS, "")
    async with serving(file=write(folder, text)) as web:
        for length in range(len(text) + 1):
            (folder / "web.yml").write_text(text[:length])
            web.reload()
            if length % 10 == 0 or length > len(text) - 5:
                assert (await get(web, tls=client(CLIENT))).status == 401
                assert (await get(web)).status == 400
                with pytest.raises(REFUSED):
                    await get(web, tls=client())


@pytest.mark.parametrize(
    ("break_it", "mend"),
    [
        (lambda folder: write(folder, "nonsense: 1"), lambda folder: write(folder, BASE)),
        (lambda folder: (folder / "web.yml").unlink(), lambda folder: write(folder, BASE)),
        (lambda folder: (folder / "server.key").write_text("x"), lambda folder: install(folder, SERVER)),
        (lambda folder: (folder / "server.pem").unlink(), lambda folder: install(folder, SERVER)),
        (
            lambda folder: write(folder, BASE.replace("server.pem", "new.pem")),
            lambda folder: shutil.copy(folder / "server.pem", folder / "new.pem"),
        ),
    ],
    ids=["key", "gone", "junk", "certificate gone", "certificate later"],
)
async def test_a_broken_file_leaves_the_old_one_working(
    folder: Path, break_it: Callable[[Path], object], mend: Callable[[Path], object]
) -> None:
    """It is logged once, not once a request; when a file is mended, that is seen too."""
    async with serving(file=write(folder, BASE)) as web:
        with capture_logs() as logs:
            break_it(folder)
            for _ in range(3):
                assert (await get(web, tls=client())).status == 200
            errors = [line for line in logs if line["log_level"] == "error"]
            assert len(errors) == len(logs) == 1
            assert errors[0]["event"] == "web configuration refused; the previous one stays"
            assert str(folder) in errors[0]["error"]
            assert web.reload() is False
            mend(folder)
            assert (await get(web, tls=client())).status == 200
        assert logs[-1]["event"] == "web configuration reloaded"


def encrypted(folder: Path) -> None:
    key = load_pem_private_key(SERVER.private_key_pem.bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (folder / "server.key").write_bytes(pem)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls_server_config: {min_version: TLS12}", "cert_file is missing"),
        ("tls_server_config: {cert_file: server.pem}", "key_file is missing"),
        (BASE + "  cert: x", "give cert or cert_file, not both"),
        (BASE.replace("server.pem", "no.pem"), "cannot read certificate .*no.pem with key .*: No such file"),
        (BASE.replace("server.key", "no.key"), "cannot read certificate .* with key .*no.key: No such file"),
        (BASE.replace("server.pem", "web.yml"), "cannot use certificate .*web.yml with key .*server.key: "),
        (BASE.replace("server.key", "other.key"), "the key is not the certificate's"),
        (BASE.replace("server.key", "encrypted.key"), "the key is encrypted"),
        (BASE + "  min_version: TLS10", "min_version: TLS10 is not supported; the nearest is TLS12"),
        (BASE + "  max_version: TLS11", "max_version: TLS11 is not supported; the nearest is TLS12"),
        (BASE + "  min_version: SSL3", "min_version: SSL3 is not supported; the nearest is TLS13"),
        (BASE + "  min_version: TLS13\n  max_version: TLS12", "min_version is above max_version"),
        (BASE + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "RC4_128_SHA is not supported; the nearest"),
        (BASE + "  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]", "none of them works"),
        (BASE + "  curve_preferences: [P256]", "P256 is not supported; the nearest is CurveP256"),
        (BASE + "  client_auth_type: RequireAnyClientCert", "client_ca_file is missing"),
        (BASE + "  client_auth_type: VerifyClientCert", "the nearest is VerifyClientCertIfGiven"),
        (BASE + "  client_auth_type: RequireAndVerifyClientCert", "client_ca_file is missing"),
        (BASE + "  client_ca_file: ca.pem", "no effect without"),
        (MUTUAL + "VerifyClientCertIfGiven\n  client_ca: x", "give client_ca or client_ca_file"),
        (MUTUAL + "VerifyClientCertIfGiven\n  client_allowed_sans: [a]", "client_allowed_sans needs"),
        (
            MUTUAL.replace("ca.pem", "web.yml") + "VerifyClientCertIfGiven",
            "client_ca_file: no PEM certificate",
        ),
        (
            MUTUAL.replace("ca.pem", "no.pem") + "VerifyClientCertIfGiven",
            "client_ca_file: .*no.pem: No such file",
        ),
        (BASE + "  no_such_key: 1", "unknown key tls_server_config.no_such_key"),
    ],
)
async def test_what_cannot_be_used_is_refused_at_the_start(folder: Path, text: str, message: str) -> None:
    """One line names the file and the key, and tells what to do; nothing is listened on."""
    OTHER_CA.issue_cert("localhost").private_key_pem.write_to_path(folder / "other.key")
    encrypted(folder)
    shutil.move(folder / "server.key", folder / "encrypted.key")
    install(folder, SERVER)
    with pytest.raises(WebError, match=message) as raised:
        async with serving(file=write(folder, text)):
            raise AssertionError("started")
    assert str(folder / "web.yml") in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_a_look_at_unchanged_files_reads_nothing(folder: Path) -> None:
    """The same policy is given until a file changes: no reading and no new secrets in between."""
    watcher = Watcher(write(folder, BASE))
    assert watcher.current() is watcher.current()
