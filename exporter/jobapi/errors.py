"""The errors of the job API; `decoder` and `answers` tell them apart.

ApiError                    .reason, .message, .advice, .retry_after, .may_pass, .may_be_record
├── ConnectError            connect: unreachable, TLS, reset, cut short
├── DeadlineError           timeout: no first byte in time, or too long a pause
├── HttpError               http: another status than 200 (.status)
├── CredentialsError        auth: 401, 403, "invalid user" with HTTP 200, a secret file unreadable
├── PlatformFailure         api: HTTP 200 with status error
│   └── RecordNotFound      the platform has no such record; not counted as a failure
├── NotUnderstoodError      decode: not the expected JSON
└── TooLargeError           too_large: more than `max_response_bytes` would have to be held
"""

from typing import ClassVar, Literal

Endpoint = Literal["page", "record", "result"]
Reason = Literal["connect", "timeout", "http", "auth", "api", "decode", "too_large"]


class ApiError(Exception):
    """A request without a result; its text says what happened and what to do."""

    reason: ClassVar[Reason]
    usual_advice: ClassVar[str]  # what to do where nothing more is known
    may_pass: bool = False  # the same request may succeed in a moment
    may_be_record: bool = False  # one record may cause this failure; other requests can still succeed

    def __init__(self, message: str, advice: str = "", *, retry_after: float | None = None) -> None:
        self.message = message
        self.advice = advice or self.usual_advice
        super().__init__(f"{message}: {self.advice}")
        self.retry_after = retry_after  # seconds the platform asked us to wait, at most 60


class ConnectError(ApiError):
    """The platform is unreachable, or the connection broke."""

    reason = "connect"
    usual_advice = "check api.base-url, the network and firewalls"
    may_pass = True


class DeadlineError(ApiError):
    """The response did not begin in time, or paused for too long."""

    reason = "timeout"
    usual_advice = "check the platform's load; if it is normal, raise api.timeout"
    may_pass = True
    may_be_record = True  # the platform may never finish the response about one record


class HttpError(ApiError):
    """Another HTTP status than 200."""

    reason = "http"
    usual_advice = "check api.base-url, and the log of the platform or of a proxy before it"

    def __init__(
        self,
        message: str,
        advice: str = "",
        *,
        status: int,
        retry_after: float | None = None,
        of_platform: bool = True,
    ) -> None:
        """`of_platform`: False for a 404 without JSON, which does not come from a job API."""
        super().__init__(message, advice, retry_after=retry_after)
        self.status = status
        self.may_pass = status >= 500 or status == 429
        self.may_be_record = 400 <= status < 600 and status not in {401, 403, 429, 503} and of_platform


class CredentialsError(ApiError):
    """The platform refused our credentials, or a file with them is unreadable."""

    reason = "auth"
    usual_advice = "check api.username with api.password-file, or api.token-file, and the user's role"


class PlatformFailure(ApiError):  # noqa: N818  (the platform's failure, told by it in an answer)
    """The platform answered HTTP 200 with status error."""

    reason = "api"
    usual_advice = "the platform failed: check its log"
    may_be_record = True


class RecordNotFound(PlatformFailure):
    """The platform has no record with this id; not counted as a failure."""


class NotUnderstoodError(ApiError):
    """The response is not the expected JSON."""

    reason = "decode"
    usual_advice = "check that api.base-url is the job API, not a web page or a proxy"
    may_be_record = True


class TooLargeError(ApiError):
    """The response would take more memory than allowed; reading it was stopped."""

    reason = "too_large"
    usual_advice = "raise api.max-response-bytes"
    may_be_record = True
