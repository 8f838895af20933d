"""The dialect of the recorded platform: envelope, camelCase records, PascalCase pages of host rows."""

from collections.abc import Mapping
from datetime import timezone

import msgspec

from exporter.simulator.dialect import (
    CANARY,
    ZERO_TIME,
    Answer,
    Endpoint,
    hosts_of,
    integer,
    make_zone,
    script_of,
    stderr_of,
    stdout_of,
    write_time,
)
from exporter.simulator.fleet import Host
from exporter.simulator.record import Record
from exporter.simulator.world import World

MASTER_ID = "6D0A0F3C-8E5B-4C7A-9B1E-000000006868"
DATABASE_DOWN = "dial tcp 127.0.0.1:13306: connect: connection refused"


class _Row(msgspec.Struct, rename="camel"):
    record_id: str
    host_ip: str
    host_id: str
    entity_id: str
    os_type: str
    start_time: str
    end_time: str
    status: str
    idc_name: str
    stdout: str
    stderr: str
    message: str


class ObservedDialect:
    """Writes the world as the recorded platform does. `zone_offset` in hours, `stdout_bytes` a row."""

    def __init__(self, *, zone_offset: float = 8.0, stdout_bytes: int = 0) -> None:
        self._zone: timezone = make_zone(zone_offset)
        self._stdout_bytes = stdout_bytes

    def answer(self, world: World, endpoint: Endpoint, query: Mapping[str, str]) -> Answer:
        """Answer as recorded: both page parameters are needed, 0 means 1 and 10."""
        if endpoint == "page":
            return self._page(world, query)
        record_id = query.get("id", "")
        if not record_id:
            return self.failure("id can not be null")
        if endpoint == "record":
            if record_id not in world:
                return self.failure("record not found")
            return _success(self._record(world.record(record_id)))
        rows = self._rows(world.record(record_id)) if record_id in world else []
        return _success(rows)

    def failure(self, message: str) -> Answer:
        """Answer HTTP 200 with the status error, as for everything that goes wrong there."""
        return Answer(body=msgspec.json.encode({"status": "error", "message": message, "content": None}))

    def unauthorized(self, *, known_scheme: bool) -> Answer:
        """Answer HTTP 200 too: no 401, no WWW-Authenticate."""
        return self.failure("invalid user" if known_scheme else "invalid authorization data")

    def wrong_content_type(self) -> Answer:
        """Answer 415 with an empty body."""
        return Answer(body=b"", status=415, content_type=None)

    def _page(self, world: World, query: Mapping[str, str]) -> Answer:
        number, size = integer(query.get("pageNo")), integer(query.get("pageSize"))
        if number is None or size is None:
            return self.failure(f"{'pageNo' if number is None else 'pageSize'} is not int")
        number, size = number or 1, size or 10
        view = world.page(number, size)
        rows = [row for record in view.records for row in self._rows(record)]
        rows.sort(key=lambda row: (row.host_id, row.record_id))  # whatever the join gives: not by time
        content = {
            "PageNo": number,
            "PageSize": size,
            "PageCount": -(-view.total // size) if size > 0 else 1,
            "TotalCount": view.total,
            "List": rows if view.total else None,
        }
        return _success(content, records=len(view.records))

    def _rows(self, record: Record) -> list[_Row]:
        start = self._time(record.start)
        end = "" if record.end is None and record.start is not None else self._time(record.end)
        return [self._row(record, host, status, (start, end)) for host, status in record.rows()]

    def _row(self, record: Record, host: Host, status: str, times: tuple[str, str]) -> _Row:
        return _Row(
            record_id=record.id,
            host_ip=host.ip,
            host_id=host.id,
            entity_id=host.entity_id,
            os_type=host.os_type,
            start_time=times[0],
            end_time=times[1],
            status=status,
            idc_name=host.idc,
            stdout=stdout_of(status, self._stdout_bytes),
            stderr=stderr_of(status),
            message=f"Process exited with status 1 {CANARY}-message" if status == "fail" else "",
        )

    def _record(self, record: Record) -> dict[str, object]:
        spec, script = record.spec, script_of(record)
        parameters = {
            "pattern": spec.module,
            "script": script,
            "scriptType": spec.script_type,
            "params": {"args": spec.name},
            "runas": "root",
            "password": f"{CANARY}-password",
            "timeout": spec.timeout,
            "env": {"TOKEN": f"{CANARY}-env"},
            "extendData": None,
            "realTimeOutput": False,
        }
        return {
            "id": record.id,
            "startTime": self._time(record.start),
            "endTime": self._time(record.end),
            "executeStatus": record.execute,
            "resultStatus": record.result,
            "callback": f"http://127.0.0.1:9/hook?token={CANARY}-callback",
            "hosts": hosts_of(record),
            "provider": spec.provider,
            "script": script,
            "scriptType": spec.script_type,
            "pattern": spec.module,
            "timeout": spec.timeout,
            "parameters": msgspec.json.encode(parameters).decode(),
            "masterId": MASTER_ID,
            "user": "",
            "executeId": spec.name,
        }

    def _time(self, seconds: int | None) -> str:
        return ZERO_TIME if seconds is None else write_time(seconds, self._zone)


def _success(content: object, *, records: int = 0) -> Answer:
    body = msgspec.json.encode({"status": "success", "message": "", "content": content})
    return Answer(body=body, records=records)
