"""Makes an ssl.SSLContext of `tls_server_config`; checks client certificates."""

import ipaddress
import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from exporter.settings.text import nearest, no_password
from exporter.web.config import TlsConfig, WebError

T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

# Older ones, which the toolkit knows, are insecure since 2011 (BEAST) and forbidden by RFC 8996.
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
# By client_auth_type. Python's ssl cannot accept an unverified certificate, so RequireAnyClientCert and
# RequireClientCert are stricter here than in Go. All three that require a certificate need a client CA:
# without one, Go would admit everyone with a certificate of a public CA.
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,  # nothing would use the certificate
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,  # a given one is signed by the client CA, or a system's CA
    "RequireAnyClientCert": ssl.CERT_REQUIRED,
    "RequireClientCert": ssl.CERT_REQUIRED,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
# Go's names (its crypto/tls.CipherSuites) → OpenSSL's. All suites of TLS 1.3 are good, and neither Go nor
# Python can choose among them: their names have no effect.
_CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
}


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The TLS context; and the SANs of which a client must have one (None: no restriction)."""

    context: ssl.SSLContext
    allowed_sans: frozenset[str] | None = None

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a verified client certificate, as returned by `getpeercert()`, has an allowed SAN."""
        if self.allowed_sans is None:
            return True
        sans = (certificate or {}).get("subjectAltName", ())
        return any(_canonical(value) in self.allowed_sans for _, value in sans)


def build(config: TlsConfig) -> Tls:
    """Make the TLS context. Raises WebError: a file is missing or unreadable, a value is unsupported."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    for name in ("cert", "key", "client_ca"):
        inline, file = getattr(config, name), getattr(config, f"{name}_file")
        if inline and file:
            raise WebError(f"tls_server_config: give {name} or {name}_file, not both")
        if not inline and not file and name != "client_ca":
            raise WebError(f"tls_server_config: {name}_file is missing")
    _versions(context, config)
    _ciphers(context, config)
    _curves(context, config)
    _certificate(context, config)
    _clients(context, config)
    sans = config.client_allowed_sans
    return Tls(
        context=context, allowed_sans=None if sans is None else frozenset(_canonical(name) for name in sans)
    )


def _canonical(name: str) -> str:
    """Give an IP address its canonical form (OpenSSL writes IPv6 in full); leave other names as they are."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _known(key: str, name: str, known: Mapping[str, T]) -> T:
    """Look up a name of the file."""
    if name not in known:
        near = nearest(name, known)
        raise WebError(f"tls_server_config.{key}: {name} is not supported; the nearest is {near}")
    return known[name]


def _versions(context: ssl.SSLContext, config: TlsConfig) -> None:
    lowest = _known("min_version", config.min_version, _VERSIONS)
    highest = _known("max_version", config.max_version, _VERSIONS)
    if lowest > highest:
        raise WebError("tls_server_config: min_version is above max_version")
    context.minimum_version, context.maximum_version = lowest, highest


def _ciphers(context: ssl.SSLContext, config: TlsConfig) -> None:
    if not config.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if not config.cipher_suites:
        return
    names = [_known("cipher_suites", name, _CIPHERS) for name in config.cipher_suites]
    if old := list(filter(None, names)):
        try:
            context.set_ciphers(":".join(old))
        except ssl.SSLError:
            raise WebError("tls_server_config.cipher_suites: this OpenSSL offers none of them") from None
    elif config.max_version == "TLS12":
        raise WebError("tls_server_config.cipher_suites: none of them works with max_version TLS12")
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _curves(context: ssl.SSLContext, config: TlsConfig) -> None:
    curves = [_known("curve_preferences", name, _CURVES) for name in config.curve_preferences]
    if not curves:
        return
    if hasattr(context, "set_groups"):  # Python 3.15
        context.set_groups(":".join(curves))
        return
    # TLS 1.3 clients must support P-256 (RFC 8446, 9.1), so this choice excludes the fewest.
    chosen = "prime256v1" if "prime256v1" in curves else curves[0]
    if len(curves) > 1:
        log.warning("this Python can use one TLS curve only", curve=chosen)
    context.set_ecdh_curve(chosen)


def _certificate(context: ssl.SSLContext, config: TlsConfig) -> None:
    where = f"certificate {config.cert_file or '(inline)'} with key {config.key_file or '(inline)'}"
    with _on_disk(config.cert, config.cert_file) as cert, _on_disk(config.key, config.key_file) as key:
        try:
            context.load_cert_chain(cert, key, password=no_password)
        except ssl.SSLError as error:
            hint = " (the key is not the certificate's)" if error.reason == "KEY_VALUES_MISMATCH" else ""
            raise WebError(f"cannot use {where}: {error.reason or 'not PEM'}{hint}") from None
        except OSError as error:
            raise WebError(f"cannot read {where}: {error.strerror}") from None
        except ValueError as error:
            raise WebError(f"cannot use {where}: {error}") from None


@contextmanager
def _on_disk(text: str | None, path: str | None) -> Iterator[str]:
    """The path of a file with the PEM. Inline PEM is in a memory file while it is loaded."""
    if path:
        yield path
        return
    if sys.platform != "linux":
        raise WebError("tls_server_config: inline PEM works on Linux only; use cert_file and key_file")
    descriptor = os.memfd_create("pem")  # ssl reads from files only
    try:
        os.write(descriptor, (text or "").encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _clients(context: ssl.SSLContext, config: TlsConfig) -> None:
    kind = config.client_auth_type
    context.verify_mode = mode = _known("client_auth_type", kind, _VERIFY)
    given = config.client_ca or config.client_ca_file
    if given and kind == "NoClientCert":
        raise WebError("tls_server_config: client_ca_file has no effect without a client_auth_type")
    if not given and mode == ssl.CERT_REQUIRED:
        raise WebError(f"tls_server_config.client_ca_file is missing: {kind} verifies against it")
    if config.client_allowed_sans is not None and mode != ssl.CERT_REQUIRED:
        raise WebError(
            "tls_server_config.client_allowed_sans needs client_auth_type RequireAndVerifyClientCert"
        )
    if given and mode != ssl.CERT_NONE:
        try:
            context.load_verify_locations(cafile=config.client_ca_file, cadata=config.client_ca)
        except (ssl.SSLError, ValueError):
            raise WebError("tls_server_config.client_ca_file: no PEM certificate in it") from None
        except OSError as error:
            raise WebError(f"tls_server_config.client_ca_file: {given}: {error.strerror}") from None
    elif mode == ssl.CERT_OPTIONAL:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)


def strictness(config: TlsConfig) -> dict[str, int]:
    """How strict a checked section is to clients: key → a number; higher is stricter."""
    return {
        "tls_server_config.client_auth_type": _VERIFY[config.client_auth_type],
        "tls_server_config.client_allowed_sans": config.client_allowed_sans is not None,
        "tls_server_config.min_version": _VERSIONS[config.min_version],
    }
