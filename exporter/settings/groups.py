"""The settings: names, types, defaults, and the rules between them.

Each default is written as a user would write it, with its reason above it. It passes through the same parser
as user input, so the documentation shows the value in effect. The text below it is its documentation.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import PydanticBaseSettingsSource as Source

from exporter.settings import parsers as values

PREFIX = "JOB_EXPORTER_"  # of environment variables


class SettingsError(Exception):
    """Invalid settings. The message is one line: the error and how to fix it."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # names and paths may contain line breaks


def _setting(default: str | None, **limits: Any) -> Any:
    """Declare a setting: default as text (None: no default), limits of the value."""
    return Field(default=default, validate_default=True, **limits)


class _Group(BaseModel):
    # Inputs may be secret: pydantic must not repeat them in its errors.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        regex_engine="python-re",
        use_attribute_docstrings=True,
    )


class ApiSettings(_Group):
    """Access to the job API, and limits on the load that the exporter puts on it."""

    base_url: values.PlatformUrl = _setting("")
    """Address of the job platform, before /api/v1, such as http://jobs.example:6868; required."""
    username: values.UserName = _setting(None)
    """User for HTTP basic authentication."""
    password: values.Password = _setting(None)
    """Password of that user. Other processes can see it in a flag; prefer api.password-file."""
    password_file: values.ReadableFile = _setting(None)
    """File with the password of that user, read again when it changes."""
    token_file: values.ReadableFile = _setting(None)
    """File with a bearer token, read again when it changes."""
    headers: values.Headers = _setting("")
    """Additional request headers, one per line."""
    ca_file: values.ReadableFile = _setting(None)
    """CA bundle (PEM) used to verify the platform's certificate, instead of the system's CAs."""
    cert_file: values.ReadableFile = _setting(None)
    """Client certificate (PEM) to present to the platform."""
    key_file: values.ReadableFile = _setting(None)
    """Private key (PEM) of the client certificate."""
    proxy_url: values.ProxyUrl = _setting(None)
    """Proxy to the platform, such as http://proxy.example:3128. Proxy variables of the environment are
    ignored."""
    # Look-ups take milliseconds, and a body that keeps arriving has no deadline, so 10 s is ample and still
    # below the poll interval. On a large platform, the first byte of a page was seen to take 20 s.
    timeout: values.Duration = _setting("10s", gt=0)
    """Timeout to connect, for the first byte of a response, and between two reads. The first byte of a page
    may take six times as long, at most one minute."""
    # Look-ups by id cost the platform about a millisecond; eight at once keep one of its cores busy.
    concurrency: int = _setting("8", ge=1, le=64)
    """Maximum number of concurrent requests, 1 to 64."""
    # A tail page can take seconds of the platform's database: nine tenths of the time are left to its users.
    duty: float = _setting("0.1", gt=0, le=1)
    """Maximum share of wall time spent on requests for tail pages, above 0 and up to 1."""
    # On a large platform, the cost of a page comes from its offset, not its size. Large records shrink pages.
    page_size: int = _setting("500", ge=1, le=500)
    """Maximum number of records per page, 1 to 500."""
    # Without outputs, 1,000 hosts are 0.4 MB: enough for 100,000 of them, and memory stays bounded.
    max_response_bytes: values.Size = _setting("64MiB", ge=1024)
    """Maximum bytes of one response held in memory. Outputs are skipped and do not count."""
    timezone: values.TimeZone = _setting("UTC")
    """Time zone of platform times without an offset: an IANA name, or an offset such as +08:00."""
    # Two retries cover a short fault. A longer one is left to the next poll, which backs off.
    retries: int = _setting("2", ge=0, le=10)
    """Retries of a request after a transient failure, 0 to 10."""

    @model_validator(mode="after")
    def _agree(self) -> "ApiSettings":
        """Refuse credentials that conflict or are incomplete."""
        ways = {
            "api.password": self.password,
            "api.password-file": self.password_file,
            "api.token-file": self.token_file,
            "the header Authorization": any(name.lower() == "authorization" for name, _ in self.headers),
        }
        given = [name for name, value in ways.items() if value]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: give one of them")
        if bool(self.username) != bool(self.password or self.password_file):
            raise ValueError(
                "api.username and api.password-file (or api.password) belong together: give both"
            )
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("api.cert-file and api.key-file belong together: give both, or neither")
        return self


class PollSettings(_Group):
    """When to poll, and what the first start counts."""

    # Metrics at most about 15 s old, for one cheap request per poll. Minimum 1s: the shortest lease of a
    # replica, and no one scrapes more often.
    interval: values.Duration = _setting("15s", ge=1)
    """Time between the starts of two polls, at least 1s."""
    # Records rarely change pages while the total stays the same: one tail page in five minutes finds that.
    recheck_interval: values.Duration = _setting("5m", gt=0)
    """Time after which the newest records are read again even if their number did not grow."""
    # A day: a record that the tail misses, for whatever reason, is counted within a day.
    sweep: values.Duration = _setting("24h")
    """Maximum age of records that the sweep, a slow repeated reading of all pages, covers to find missed
    records; 0 turns the sweep off."""
    # Older records are rarely still open, even on a busy platform.
    adopt: int = _setting("200", ge=0, le=10_000)
    """Number of newest records that the first start searches for open records, 0 to 10000."""
    # Counters start at 0: earlier records cannot appear in a rate.
    history: values.History = _setting("none")
    """Finished records that the first start counts: none, all, or those of the last DURATION."""
    # Host results were seen to arrive 1.7 s after their record was done.
    settle_grace: values.Duration = _setting("15s")
    """Time to wait for missing host results of a finished record."""
    # The platform needs some seconds to end a record after its timeout.
    overdue_grace: values.Duration = _setting("30s")
    """Time after its own timeout at which an open record is overdue."""


class StateSettings(_Group):
    """Address of the ledger, and how long it keeps ids."""

    url: values.StateUrl = _setting("sqlite:///job-exporter.db")
    """Address of the ledger: SQLite or PostgreSQL."""
    # A month: an audit can still explain last month's numbers, and the file stays small.
    retention: values.Duration = _setting("30d", gt=0)
    """Minimum time to keep the ids of settled records; older ids are pruned."""


class MetricsSettings(_Group):
    """Labels, buckets and limits of the metrics."""

    # The default scrape interval of Prometheus: every server sees the zero once.
    zero_hold: values.Duration = _setting("60s")
    """Time for which a new series shows 0 before its value, so that increase() counts its first value."""
    # Far above the IDCs of a company, far below what hurts a Prometheus server.
    label_limit: int = _setting("500", ge=1, le=100_000)
    """Maximum number of values per label, 1 to 100000; further values are counted as 'other'."""
    record_labels: values.RecordLabels = _setting("provider,script_type")
    """Labels of job_records_finished_total in addition to result_status."""
    # Where people set timeouts (whole seconds, minutes, hours), so that a quantile can be told from a limit;
    # each two or three times the last, for an even relative error; 14 of them times 5 results stay cheap.
    duration_buckets: values.Buckets = _setting("1s,2s,5s,10s,20s,30s,1m,2m,5m,10m,30m,1h,3h,6h")
    """Upper bounds of job_record_duration_seconds in ascending order, as durations or seconds."""


class WebSettings(_Group):
    """The web server of the exporter."""

    # Outside the port range that public exporters use.
    listen_address: values.ListenAddresses = _setting(":16868")
    """Address to listen on; without a host: all interfaces."""
    config_file: values.ReadableFile = _setting(None)
    """Web configuration in the format of Prometheus' exporter-toolkit: TLS, client certificates, users."""
    telemetry_path: values.TelemetryPath = _setting("/metrics")
    """Path of the metrics."""
    record_url: values.RecordUrl = _setting("")
    """Link template (http or https) to a record in the platform's UI, with {id} for the id; empty: no
    links."""


class LogSettings(_Group):
    """The log."""

    level: values.Level = _setting("info")
    """Minimum severity of log lines."""
    # One event a line, read by people and by log collectors alike.
    format: values.Form = _setting("logfmt")
    """Format of log lines."""


class Settings(BaseSettings):
    """All settings, frozen; read by `load`, or constructed from groups."""

    # All sources give text; each type reads its own.
    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,
    )

    config: Annotated[str, "file"] = _setting("")
    """YAML settings file; flags and variables override it."""
    api: ApiSettings = Field(default_factory=ApiSettings)
    poll: PollSettings = Field(default_factory=PollSettings)
    state: StateSettings = Field(default_factory=StateSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # it is called with keywords
        cls, _settings_cls: type[BaseSettings], init_settings: Source, **_others: Source
    ) -> tuple[Source, ...]:
        """Read only the arguments, or only the sources that `load` gives as `sources`."""
        return tuple(init_settings().get("sources", [init_settings]))

    def require_platform(self) -> str:
        """The address of the platform. Raises SettingsError if it is not set."""
        if not self.api.base_url:
            raise SettingsError(
                "the address of the job platform is missing: set the flag --api.base-url=URL, "
                "the variable JOB_EXPORTER_API__BASE_URL=URL, "
                "or the key base_url under api in the file named by --config"
            )
        return self.api.base_url
