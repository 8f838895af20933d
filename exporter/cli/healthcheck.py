"""`job-exporter healthcheck`: the container's health check; requests the local daemon."""

import http.client
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace

from exporter.settings import Settings, SettingsError, load
from exporter.web.config import FileConfig, WebError, parse

PATH = "/-/healthy"
TIMEOUT = 4.0  # seconds for each step; the image's own deadline is longer
# 401: users are set, and the health check has no password. 429: the rate limit. Both mean a live process.
SERVING = (200, 401, 429)
_EVERY_INTERFACE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared, not bound)


def healthcheck(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print one line; return 0 if the daemon with these settings answers, else 1.

    Invalid settings also return 1: Docker reserves all other statuses.
    """
    try:
        healthy, line = _ask(load(argv, environ))
    except (SettingsError, WebError) as error:
        healthy, line = False, str(error)
    print(f"{'healthy' if healthy else 'unhealthy'}: {line}")
    return 0 if healthy else 1


def _ask(settings: Settings) -> tuple[bool, str]:
    config = parse(settings.web.config_file) if settings.web.config_file else FileConfig()
    address = settings.web.listen_address[0]  # one process serves all addresses
    if not address.port:
        raise SettingsError(
            "web.listen-address has port 0: the system chose the port, so it is not known here"
        )
    address = replace(address, host=_EVERY_INTERFACE.get(address.host, address.host))
    tls = config.tls_server_config
    target = f"{'https' if tls else 'http'}://{address}{PATH}"
    connection = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT)
    if tls:  # the certificate names the public host, so it is not verified
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address.host, address.port, timeout=TIMEOUT, context=context)
    try:
        connection.request("GET", PATH)
        status = connection.getresponse().status
    except OSError as error:
        # A server that requires a client certificate rejects us with an alert or a reset, so it is alive.
        mutual = tls is not None and tls.client_auth_type == "RequireAndVerifyClientCert"
        if mutual and isinstance(error, ssl.SSLError | ConnectionResetError):
            return True, f"{target} asks for a client certificate"
        return False, f"{target}: {error.strerror or error or type(error).__name__}"
    except http.client.HTTPException:
        return False, f"{target}: the answer is not HTTP"
    finally:
        connection.close()
    return status in SERVING, f"{target} answers {status}"
