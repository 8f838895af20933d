"""The settings themselves: names, types, defaults, and the rules between them.

A default is written as the text that a user would give, beside its reason; it goes through the same
parser, so that the documentation shows what really holds.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from exporter.settings.parsers import (
    Buckets,
    Duration,
    Headers,
    History,
    Level,
    ListenAddresses,
    PlatformUrl,
    ProxyUrl,
    ReadableFile,
    RecordLabels,
    RecordUrl,
    Secret,
    Size,
    StateUrl,
    TelemetryPath,
    TimeZone,
    UserName,
    Word,
)


class SettingsError(Exception):
    """What was set cannot be used; its text is one line that says what is wrong and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # names and paths may hold line ends


def _setting(default: str | None, kind: str, description: str, **more: Any) -> Any:
    """Declare a setting: its default as text (None: none), what to write, and a sentence with the unit."""
    extra = {"kind": kind, "secret": more.pop("secret", False), "repeatable": more.pop("repeatable", False)}
    return Field(
        default=default, validate_default=True, description=description, json_schema_extra=extra, **more
    )


class _Group(BaseModel):
    # Inputs may be secret: pydantic must not repeat them in its errors.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ApiSettings(_Group):
    """How to reach the job platform, and how much to ask of it."""

    base_url: PlatformUrl = _setting(
        "", "url", "Address of the job platform, before /api/v1, such as http://jobs.example:6868; required."
    )
    username: UserName = _setting(None, "text", "User for HTTP basic authentication.")
    password: Secret = _setting(
        None,
        "text",
        "Password of that user; other processes can see it in a flag: rather use a file.",
        secret=True,
    )
    password_file: ReadableFile = _setting(
        None, "file", "File with the password of that user, read again when it changes."
    )
    token_file: ReadableFile = _setting(None, "file", "File with a bearer token, read again when it changes.")
    headers: Headers = _setting(
        "", "Name: value", "Further headers of each request, one a line.", secret=True, repeatable=True
    )
    ca_file: ReadableFile = _setting(
        None, "file", "Certificates (PEM) that the platform's own is verified by, instead of the system's."
    )
    cert_file: ReadableFile = _setting(None, "file", "Client certificate (PEM) to show to the platform.")
    key_file: ReadableFile = _setting(None, "file", "Private key (PEM) of the client certificate.")
    proxy_url: ProxyUrl = _setting(
        None,
        "url",
        "Proxy for the way to the platform, such as http://proxy.example:3128; proxies of the environment "
        "are not used.",
        secret=True,
    )
    # Look-ups take milliseconds and a body that keeps coming has no deadline: this leaves room, and ends
    # within a poll interval. Pages of a large platform were seen to take 20 s to begin.
    timeout: Duration = _setting(
        "10s",
        "duration",
        "Time to connect, to wait for an answer to begin, and to wait for more of it; the first byte of a "
        "page may take six times as long, up to a minute.",
        gt=0,
    )
    # Look-ups by id cost the platform about a millisecond; eight at once keep one of its cores busy.
    concurrency: int = _setting("8", "number", "Requests under way at once, 1 to 64.", ge=1, le=64)
    # A tail page can take seconds of the platform's database: nine tenths of it stay with its users.
    duty: float = _setting(
        "0.1",
        "number",
        "Share of the wall time that requests of tail pages may take, above 0 to 1.",
        gt=0,
        le=1,
    )
    # On a large platform the offset of a page costs, not its width. Heavy records make pages smaller.
    page_size: int = _setting("500", "number", "Most records to ask for in one page, 1 to 500.", ge=1, le=500)
    # Without outputs, 1,000 hosts are 0.4 MB: enough for 100,000 of them, and memory stays bounded.
    max_response_bytes: Size = _setting(
        "64MiB",
        "size",
        "Most bytes that are held of one response; outputs in it are skipped and do not count.",
        ge=1024,
    )
    timezone: TimeZone = _setting(
        "UTC",
        "zone",
        "Time zone of the platform's times that name none: an IANA name, or an offset such as +08:00.",
    )
    # A blip passes in two; what lasts longer is left to the next poll, which backs off.
    retries: int = _setting(
        "2", "number", "Further tries of a request whose failure may pass, 0 to 10.", ge=0, le=10
    )

    @model_validator(mode="after")
    def _agree(self) -> "ApiSettings":
        """Refuse credentials of which one would be ignored, or which lack their other half."""
        secrets = [
            name for name in ("password", "password_file", "token_file") if getattr(self, name) is not None
        ]
        named = " and ".join(f"api.{name.replace('_', '-')}" for name in secrets)
        has_password = self.password is not None or self.password_file is not None
        if len(secrets) > 1:
            raise ValueError(f"{named} exclude each other: give one of them")
        if self.username is not None and not has_password:
            raise ValueError("api.username needs a password: give api.password-file (or api.password)")
        if has_password and self.username is None:
            raise ValueError(f"{named} needs a user: give api.username")
        if secrets and any(name.lower() == "authorization" for name, _ in self.headers):
            raise ValueError(f"{named} and the header Authorization exclude each other: give one of them")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("api.cert-file and api.key-file belong together: give both, or neither")
        return self


class PollSettings(_Group):
    """When to look, and what a first start counts."""

    # Freshness of about a quarter of a minute at one cheap request a poll. A second is the shortest lease of
    # replicas, and nobody scrapes more often.
    interval: Duration = _setting(
        "15s", "duration", "Time from the start of one poll to that of the next, at least 1s.", ge=1
    )
    # What shifts without growing the total is rare: one tail page in five minutes finds it.
    recheck_interval: Duration = _setting(
        "5m",
        "duration",
        "Time after which the newest records are read again though their number did not grow.",
        gt=0,
    )
    # A day: whatever hides a record from the quick way, it counts within a day.
    sweep: Duration = _setting(
        "24h",
        "duration",
        "Age of records up to which a slow sweep reads all pages again and again, to find what was missed; "
        "0 turns it off.",
    )
    # Four full pages: what is open on a busy platform is seldom older.
    adopt: int = _setting(
        "200",
        "number",
        "Newest records that a first start searches for open ones, 0 to 10000.",
        ge=0,
        le=10_000,
    )
    # Counters start at nought: what ended before is in no rate.
    history: History = _setting(
        "none",
        "none|all|duration",
        "Finished records that a first start counts: none, all, or those of a duration.",
    )
    # Host rows were seen to arrive 1.7 s after their record was done.
    settle_grace: Duration = _setting(
        "15s", "duration", "Time that a finished record waits for hosts that have not reported."
    )
    # A platform needs some seconds to end a record whose time is up.
    overdue_grace: Duration = _setting(
        "30s", "duration", "Time past its own timeout after which an open record is overdue."
    )


class StateSettings(_Group):
    """Where the ledger is, and how long it remembers."""

    url: StateUrl = _setting(
        "sqlite:///job-exporter.db", "url", "Address of the ledger, for SQLite or PostgreSQL.", secret=True
    )
    # A month: an audit can still explain last month's numbers, and the file stays small.
    retention: Duration = _setting(
        "30d", "duration", "Time that ids of settled records are kept, at least; older ones are pruned.", gt=0
    )


class MetricsSettings(_Group):
    """What the metrics look like."""

    # Prometheus' own default scrape interval: every server sees the zero once.
    zero_hold: Duration = _setting(
        "60s",
        "duration",
        "Time that a new series shows 0 before its value, so that increase() sees its birth.",
    )
    # Far above the IDCs of a company, far below what hurts a Prometheus server.
    label_limit: int = _setting(
        "500",
        "number",
        "Values of one label before further ones fold into 'other', 1 to 100000.",
        ge=1,
        le=100_000,
    )
    record_labels: RecordLabels = _setting(
        "provider,script_type",
        "provider|script_type",
        "Labels of job_records_finished_total beside the result.",
        repeatable=True,
    )
    # Where people set timeouts (whole seconds, minutes, hours), so that a quantile can be told from a limit;
    # each two or three times the last, for an even relative error; 14 of them times 5 results stay cheap.
    duration_buckets: Buckets = _setting(
        "1s,2s,5s,10s,20s,30s,1m,2m,5m,10m,30m,1h,3h,6h",
        "duration",
        "Upper bounds of job_record_duration_seconds in ascending order, as durations or seconds.",
        repeatable=True,
    )


class WebSettings(_Group):
    """What the exporter itself serves."""

    # Outside the range of ports that public exporters share.
    listen_address: ListenAddresses = _setting(
        ":16868", "[host]:port", "Address to serve on; without a host, on all interfaces.", repeatable=True
    )
    config_file: ReadableFile = _setting(
        None,
        "file",
        "Web configuration in the format of Prometheus' exporter-toolkit: TLS, client certificates, users.",
    )
    telemetry_path: TelemetryPath = _setting("/metrics", "path", "Path of the metrics.")
    record_url: RecordUrl = _setting(
        "",
        "url",
        "Link to a record on the platform's own pages, with {id} for its id; http or https; none if empty.",
    )


class LogSettings(_Group):
    """How the exporter tells what it does."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Level] = _setting(
        "info", "debug|info|warning|error", "Least severity of the lines that are logged."
    )
    # One event a line, read by people and by log collectors alike.
    format: Annotated[Literal["logfmt", "json"], Word] = _setting(
        "logfmt", "logfmt|json", "Form of a log line."
    )


class Settings(BaseSettings):
    """Everything that can be set, frozen; read by `load`, or constructed from groups."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    config: str = _setting("", "file", "YAML file with settings that neither a flag nor a variable gives.")
    api: ApiSettings = Field(default_factory=ApiSettings)
    poll: PollSettings = Field(default_factory=PollSettings)
    state: StateSettings = Field(default_factory=StateSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments only: `load` says what they are."""
        return (init_settings,)

    def require_platform(self) -> str:
        """Give the address of the platform; raises SettingsError when none was set."""
        if not self.api.base_url:
            raise SettingsError(
                "the address of the job platform is missing: give it as the flag --api.base-url=URL, "
                "as the variable JOB_EXPORTER_API__BASE_URL=URL, "
                "or as the key base_url under api in the file named by --config"
            )
        return self.api.base_url
