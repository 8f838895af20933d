"""A job platform that answers bytes and misbehaves; all that it will do to a record is known in advance."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

Dialect = Literal["observed", "rows", "records"]
FOREVER = float("inf")
LIMIT = 64e6  # bytes of a body that is refused
SHAPES = {"slashes": "%Y/%m/%d %H:%M:%S", "naive": "%Y-%m-%d %H:%M:%S"}


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host of a record, with the status that it reports; None: it never reports."""

    id: str
    address: str
    entity: str
    idc: str
    status: str | None
    double: str | None = None  # the status of a second row


@dataclass(kw_only=True)
class Job:
    """A record. Times are seconds of true time; `start` is what its master's clock stamped."""

    id: str
    start: int
    born: float
    ends: float  # FOREVER: never
    seconds: int  # duration
    result: str | None
    hosts: tuple[Host, ...]
    result_after: float = 0.0  # seconds from the end until the result is written
    reports_after: float = 0.0  # seconds from the end until hosts have their statuses
    rows_from: float = 0.0  # true time of the rows; FOREVER: never
    deleted: float = FOREVER
    provider: str = "salt"
    script_type: str = "bash"
    times: str = "zoned"  # zoned, naive, slashes, zero or absent
    zone: int = 0  # hours by which the zone of a naive time differs
    hosts_as: str = "ids"  # ids, addresses, null or absent
    cancelled_as_status: bool = False  # the execute status says it
    edited: float = FOREVER  # from then on the result is another
    weight: int = 0  # bytes of output
    poison: dict[str, tuple[str, float]] = field(default_factory=dict)  # endpoint: (kind, until)
    blinks: list[tuple[float, float, int]] = field(default_factory=list)  # from, until, rows kept

    def is_there(self, at: float) -> bool:
        """Whether the platform has it."""
        return self.born <= at < self.deleted

    def is_done(self, at: float) -> bool:
        """Whether it has ended."""
        return at >= self.ends

    def rows(self, at: float) -> list[tuple[Host, str]]:
        """Its host rows, with their statuses."""
        if at < self.rows_from:
            return []
        told = at >= self.ends + self.reports_after
        rows = [(host, (host.status or "") if told else "") for host in self.hosts]
        rows += [(host, host.double) for host in self.hosts if told and host.double]
        for since, until, kept in self.blinks:
            if since <= at < until:
                return rows[:kept]
        return rows

    def stamps(self, at: float) -> tuple[str | None, str | None]:
        """Start and end as the platform writes them."""
        if self.times == "absent":
            return None, None
        if self.times == "zero":
            return "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"
        end = self.start + self.seconds if self.is_done(at) else self.start
        return self._stamp(self.start), self._stamp(end)

    def _stamp(self, moment: int) -> str:
        if shape := SHAPES.get(self.times):
            return (datetime.fromtimestamp(moment, UTC) + timedelta(hours=self.zone)).strftime(shape)
        return datetime.fromtimestamp(moment, timezone(timedelta(hours=8))).isoformat()

    def result_at(self, at: float) -> str | None:
        """The result as the platform tells it."""
        if at < self.ends + self.result_after:
            return None
        if at >= self.edited:
            return "fail" if self.result == "success" else "success"
        return self.result


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer; `failure` stands for what happens below HTTP."""

    status: int = 200
    body: bytes = b""
    failure: Literal["", "connect", "timeout", "too_large"] = ""
    weight: int = 0


class Platform:
    """All records that ever were, seen as of any moment."""

    def __init__(self, dialect: Dialect, *, newest_first: bool, numeric_ids: bool) -> None:
        self.dialect, self.newest_first, self.numeric_ids = dialect, newest_first, numeric_ids
        self.jobs: dict[str, Job] = {}
        self.ahead = 0.0  # seconds, its clock against true time

    def there(self, at: float) -> list[Job]:
        """The records in the order of pages."""
        jobs = [job for job in self.jobs.values() if job.is_there(at)]
        return sorted(jobs, key=lambda job: (job.start, job.id), reverse=self.newest_first)

    def is_shown(self, job: Job, at: float) -> bool:
        """Whether a page shows it."""
        return (self.dialect == "records" or bool(job.rows(at))) and job.weight * len(job.rows(at)) <= LIMIT

    # -- answers

    def page(
        self, number: int, size: int, at: float, *, total: int | None = None, empty: bool = False
    ) -> Answer:
        """Answer a page; `total` is a false total, negative: left out."""
        jobs = self.there(at)
        shown = [] if empty else jobs[(number - 1) * size : number * size]
        for job in shown:
            if (bad := self._poisoned(job, "page", at)) is not None and (
                self.dialect == "records" or job.rows(at)
            ):
                return bad
        weight = sum(job.weight * len(job.rows(at)) for job in shown)
        if weight > LIMIT:
            return Answer(failure="too_large")
        count = len(jobs) if total is None else total
        return Answer(body=self._page_body(number, size, count, shown, at), weight=weight)

    def _page_body(self, number: int, size: int, count: int, shown: list[Job], at: float) -> bytes:
        items: list[Any] = []
        for job in shown:
            items += [self._info(job, at)] if self.dialect == "records" else self._rows(job, at)
        names = ["list", "pageNo", "pageSize", "pageCount", "totalCount"]
        if self.dialect == "observed":
            names = [name[0].upper() + name[1:] for name in names]
        page = dict(zip(names, (items, number, size, -(-count // size), count), strict=True))
        if count < 0:
            del page[names[3]], page[names[4]]
        return self._body(page)

    def record(self, record_id: str, at: float) -> Answer:
        """Answer a look-up."""
        job = self.jobs.get(record_id)
        if job is None or not job.is_there(at):
            if self.dialect == "observed":
                return self._error("record not found")
            return Answer(status=404, body=b'{"error":"no such record"}')
        return self._poisoned(job, "record", at) or Answer(body=self._body(self._info(job, at)))

    def results(self, record_id: str, at: float) -> Answer:
        """Answer a question for host rows."""
        job = self.jobs.get(record_id)
        if job is None or not job.is_there(at):
            return Answer(body=self._body([]))
        return self._poisoned(job, "result", at) or Answer(
            body=self._body(self._rows(job, at)), weight=job.weight
        )

    def _poisoned(self, job: Job, endpoint: str, at: float) -> Answer | None:
        kind, until = job.poison.get(endpoint, ("", 0.0))
        if at >= until:
            return None
        match kind:
            case "500":
                return Answer(status=500, body=b"oops")
            case "error":
                return self._error("Error 1366: incorrect string value")
            case "cut":
                return Answer(body=b'{"status":"success","message":"","content":{"List":[{"recordId":"')
            case "timeout":
                return Answer(failure="timeout")
            case _:
                return Answer(failure="too_large")

    @staticmethod
    def _error(message: str) -> Answer:
        return Answer(body=json.dumps({"status": "error", "message": message, "content": None}).encode())

    def _body(self, content: Any) -> bytes:
        if self.dialect == "observed":
            content = {"status": "success", "message": "", "content": content}
        return json.dumps(content).encode()

    # -- records

    def _id(self, job: Job) -> str | int:
        return int(job.id) if self.numeric_ids else job.id

    def _rows(self, job: Job, at: float) -> list[Mapping[str, Any]]:
        start, end = job.stamps(at)
        rows: list[Mapping[str, Any]] = []
        for host, status in job.rows(at):
            row = {
                "recordId": self._id(job), "hostId": host.id, "hostIp": host.address, "entityId": host.entity,
                "idcName": host.idc, "status": status, "startTime": start, "endTime": end,
                "message": "", "stdout": "cut in half: \ud83d", "stderr": "",
            }  # fmt: skip
            rows.append({key: value for key, value in row.items() if value is not None})
        return rows

    def _info(self, job: Job, at: float) -> Mapping[str, Any]:
        start, end = job.stamps(at)
        camel = self.dialect == "observed"
        done, result = job.is_done(at), job.result_at(at)
        execute = "done" if done else "doing"
        if done and job.cancelled_as_status:
            execute, result = "cancelled", None
        named = {"ids": [host.id for host in job.hosts], "addresses": [host.address for host in job.hosts]}
        hosts = None if job.hosts_as == "absent" else json.dumps(named.get(job.hosts_as))
        info = {
            "id": self._id(job), "provider": job.provider, "callback": "",
            "script": "secret", "timeout": 60, "hosts": hosts,
            "startTime" if camel else "start_time": start, "endTime" if camel else "end_time": end,
            "executeStatus" if camel else "execute_status": execute,
            "resultStatus" if camel else "result_status": result if done else "",
            "scriptType" if camel else "script_type": job.script_type,
        }  # fmt: skip
        return {key: value for key, value in info.items() if value is not None}
