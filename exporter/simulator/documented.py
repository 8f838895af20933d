"""The dialect of the API document: bare bodies, snake_case records, HTTP statuses for errors.

The document leaves the item of a page open: `items="records"` lists whole records (all of them are
visible then: use a `World` with `rows_decide=False`), `items="rows"` lists host rows.
"""

from collections.abc import Mapping
from datetime import timezone
from typing import Literal

import msgspec

from exporter.simulator.dialect import (
    CANARY,
    Answer,
    Endpoint,
    TimeFormat,
    hosts_of,
    integer,
    make_zone,
    script_of,
    stderr_of,
    stdout_of,
    write_time,
)
from exporter.simulator.record import Record
from exporter.simulator.world import World

Items = Literal["records", "rows"]


class DocumentedDialect:
    """Writes the world as the API document says. `zone_offset` in hours, `stdout_bytes` a row."""

    def __init__(
        self,
        *,
        items: Items = "records",
        zone_offset: float = 8.0,
        time_format: TimeFormat = "rfc3339",
        stdout_bytes: int = 0,
    ) -> None:
        self._items: Items = items
        self._zone: timezone = make_zone(zone_offset)
        self._time_format: TimeFormat = time_format
        self._stdout_bytes = stdout_bytes

    def answer(self, world: World, endpoint: Endpoint, query: Mapping[str, str]) -> Answer:
        """Answer as documented: page parameters may be left out, bad ones and unknown ids are a 400."""
        if endpoint == "page":
            return self._page(world, query)
        record_id = query.get("id", "")
        if not record_id:
            return _error(400, "id is required")
        if endpoint == "record":
            if record_id not in world:
                return _error(400, "record not found")
            return _success(self._record(world.record(record_id)))
        rows = self._rows(world.record(record_id)) if record_id in world else []
        return _success(rows[0] if len(rows) == 1 else rows)

    def failure(self, message: str) -> Answer:
        """Answer 500 with an error body."""
        return _error(500, message)

    def unauthorized(self, *, known_scheme: bool) -> Answer:  # noqa: ARG002 - the same for both here
        """Answer 401: the document is silent, and this is what HTTP says."""
        return _error(401, "unauthorized")

    def wrong_content_type(self) -> Answer:
        """Answer 400: the document asks for the header."""
        return _error(400, "Content-Type must be application/json")

    def _page(self, world: World, query: Mapping[str, str]) -> Answer:
        number, size = integer(query.get("pageNo", "1")), integer(query.get("pageSize", "10"))
        if number is None or size is None or number < 0 or size < 0:
            return _error(400, "pageNo and pageSize must be integers from 1")
        number, size = number or 1, size or 10
        view = world.page(number, size)
        if self._items == "records":
            items = [self._record(record) for record in view.records]
        else:
            items = [row for record in view.records for row in self._rows(record)]
            items.sort(key=lambda row: (str(row["hostId"]), str(row["recordId"])))
        content = {
            "list": items,
            "pageCount": -(-view.total // size),
            "pageNo": number,
            "pageSize": size,
            "totalCount": view.total,
        }
        return _success(content, records=len(view.records))

    def _rows(self, record: Record) -> list[dict[str, object]]:
        start, end = self._time(record.start), self._time(record.end if record.done else None)
        return [
            {
                "recordId": record.id,
                "hostId": host.id,
                "hostIp": host.ip,
                "entityId": host.entity_id,
                "idcName": host.idc,
                "status": status,
                "startTime": start,
                "endTime": end,
                "message": f"{CANARY}-message" if status == "fail" else "",
                "stdout": stdout_of(status, self._stdout_bytes),
                "stderr": stderr_of(status),
            }
            for host, status in record.rows()
        ]

    def _record(self, record: Record) -> dict[str, object]:
        spec = record.spec
        return {
            "id": record.id,
            "start_time": self._time(record.start),
            "end_time": self._time(record.end if record.done else None),
            "execute_status": record.execute,
            "result_status": record.result,
            "hosts": hosts_of(record),
            "provider": spec.provider,
            "script": script_of(record),
            "script_type": spec.script_type,
            "module_name": spec.module,
            "timeout": spec.timeout,
            "parameters": f'{{"password": "{CANARY}-password"}}',
            "callback": f"http://127.0.0.1:9/hook?token={CANARY}-callback",
        }

    def _time(self, seconds: int | None) -> str:
        return "" if seconds is None else write_time(seconds, self._zone, self._time_format)


def _error(status: int, message: str) -> Answer:
    return Answer(body=msgspec.json.encode({"code": status, "message": message}), status=status)


def _success(content: object, *, records: int = 0) -> Answer:
    return Answer(body=msgspec.json.encode(content), records=records)
