"""The simulator writes what the recorded platform wrote, and what the API document says."""

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.simulator.dialect import CANARY, Answer, Endpoint, integer, make_zone, write_time
from exporter.simulator.documented import DocumentedDialect, Items
from exporter.simulator.fleet import make_fleet
from exporter.simulator.observed import ObservedDialect
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World

RECORDED = Path(__file__).parents[1] / "recorded"
NOW = 1_790_000_000.0
HOSTS = make_fleet({"杭州": 20, "guangzhou-01": 20})
THREE = HOSTS["杭州"][:2] + HOSTS["guangzhou-01"][:1]
OBSERVED = ObservedDialect()


def recorded(name: str) -> Any:
    """Give the JSON body of a recorded response."""
    return json.loads((RECORDED / f"{name}.http").read_bytes().partition(b"\r\n\r\n")[2])


def body(answer: Answer) -> Any:
    return json.loads(answer.body)


def shape(value: Any) -> Any:
    """Reduce JSON to keys and types; an array to the shape of its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def make_world(**changes: Any) -> World:
    """Make a world with record `a` done, `b` doing and `c` without rows."""
    world = World(**changes)
    for offset, name in enumerate("abc"):
        world.add(
            RecordSpec(
                id=name, hosts=THREE, start=NOW + offset, rows=name != "c", name="发布 \"x\"\n'y'", timeout=12
            ),
            NOW,
        )
    world.finish("a", "fail", NOW + 5, statuses={THREE[0].id: "fail", THREE[1].id: "success"})
    return world


def ask(endpoint: Endpoint, **query: str) -> Any:
    return body(OBSERVED.answer(make_world(), endpoint, query))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("record-real-2idc-shenzhen-shanghai", ask("record", id="a")),
        ("record-sql-init", ask("record", id="b")),
        ("result-real-2idc-shenzhen-shanghai", ask("result", id="a")),
        ("page-1-20", ask("page", pageNo="1", pageSize="20")),
        ("page-9-20-beyond-end", ask("page", pageNo="9", pageSize="20")),
        ("page-negative-no", ask("page", pageNo="-1", pageSize="20")),
        ("empty-page-1-20", body(OBSERVED.answer(World(), "page", {"pageNo": "1", "pageSize": "20"}))),
    ],
)
def test_answers_have_the_shape_that_was_recorded(name: str, answer: Any) -> None:
    """Same keys in the same order, same types."""
    assert shape(answer) == shape(recorded(name))
    assert json.dumps(shape(answer)) == json.dumps(shape(recorded(name)))


@pytest.mark.parametrize(
    ("name", "endpoint", "query"),
    [
        ("page-missing-both", "page", {}),
        ("page-missing-no", "page", {"pageSize": "20"}),
        ("page-missing-size", "page", {"pageNo": "1"}),
        ("page-lowercase-params", "page", {"pageno": "1", "pagesize": "20"}),
        ("page-nonint-no", "page", {"pageNo": "abc", "pageSize": "20"}),
        ("page-nonint-size", "page", {"pageNo": "1", "pageSize": "1.5"}),
        ("page-overflow-size", "page", {"pageNo": "1", "pageSize": "99999999999999999999"}),
        ("page-plus-sign", "page", {"pageNo": " 1", "pageSize": "20"}),
        ("record-unknown-id", "record", {"id": "020c1dbf"}),
        ("record-empty-id", "record", {"id": ""}),
        ("record-missing-id", "record", {}),
        ("result-missing-id", "result", {}),
        ("result-unknown-id", "result", {"id": "020c1dbf"}),
    ],
)
def test_bad_queries_get_the_very_answer_that_was_recorded(
    name: str, endpoint: Endpoint, query: dict[str, str]
) -> None:
    """Errors are HTTP 200 with the recorded words; results of an unknown id are none."""
    answer = OBSERVED.answer(make_world(), endpoint, query)
    assert (answer.status, body(answer)) == (200, recorded(name))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("dbdown-page", OBSERVED.failure("dial tcp 127.0.0.1:13306: connect: connection refused")),
        ("acl-page-wrong-password", OBSERVED.unauthorized(known_scheme=True)),
        ("acl-bearer", OBSERVED.unauthorized(known_scheme=False)),
    ],
)
def test_failures_are_as_recorded(name: str, answer: Answer) -> None:
    """Database and credentials fail with HTTP 200."""
    assert (answer.status, body(answer)) == (200, recorded(name))


def test_zero_means_the_first_page_of_ten() -> None:
    """As recorded, pageNo 0 is 1 and pageSize 0 is 10."""
    content = ask("page", pageNo="0", pageSize="0")["content"]
    assert [content[key] for key in ("PageNo", "PageSize", "PageCount", "TotalCount")] == [1, 10, 1, 3]
    assert ask("page", pageNo="1", pageSize="-1")["content"]["PageCount"] == 1


def test_while_a_record_runs_its_end_is_its_start() -> None:
    """The trap of the recorded platform: a running record has an end."""
    content = ask("record", id="b")["content"]
    assert content["endTime"] == content["startTime"] == "2026-09-21T22:13:21+08:00"
    assert (content["executeStatus"], content["resultStatus"]) == ("doing", "")


def test_missing_times_are_written_as_recorded() -> None:
    """No start is the zero time; no end is the zero time in the record and nothing in its rows."""
    world = World()
    world.add(RecordSpec(id="a", hosts=THREE, no_start=True), NOW)
    world.add(RecordSpec(id="b", hosts=THREE, null_end=True, hosts_listed=False), NOW)
    zero = body(OBSERVED.answer(world, "record", {"id": "a"}))["content"]
    assert zero["startTime"] == zero["endTime"] == "0001-01-01T00:00:00Z"
    rows = body(OBSERVED.answer(world, "result", {"id": "a"}))["content"]
    assert rows[0]["startTime"] == rows[0]["endTime"] == "0001-01-01T00:00:00Z"
    record = body(OBSERVED.answer(world, "record", {"id": "b"}))["content"]
    assert (record["endTime"], record["hosts"]) == ("0001-01-01T00:00:00Z", "")
    assert body(OBSERVED.answer(world, "result", {"id": "b"}))["content"][0]["endTime"] == ""


def test_hosts_are_an_array_inside_a_string() -> None:
    """As recorded; names keep their quotes, newlines and Chinese."""
    content = ask("record", id="a")["content"]
    assert json.loads(content["hosts"]) == [host.id for host in THREE]
    assert content["executeId"] == "发布 \"x\"\n'y'"
    assert json.loads(content["parameters"])["params"] == {"args": "发布 \"x\"\n'y'"}


def test_a_record_without_hosts_says_null() -> None:
    """As recorded of a job that matched no host."""
    world = World()
    world.add(RecordSpec(id="a"), NOW)
    assert body(OBSERVED.answer(world, "record", {"id": "a"}))["content"]["hosts"] == "null"
    assert recorded("record-real-ssh-unknown-idc")["content"]["hosts"] == "null"


def test_a_page_holds_rows_out_of_time_order_and_counts_records() -> None:
    """Rows of several records are mixed; the answer knows how many records it delivered."""
    world = World()
    for number in range(20):
        hosts = (HOSTS["杭州"][number], HOSTS["guangzhou-01"][number])
        world.add(RecordSpec(hosts=hosts, start=NOW + number), NOW)
    answer = OBSERVED.answer(world, "page", {"pageNo": "1", "pageSize": "20"})
    starts = [row["startTime"] for row in body(answer)["content"]["List"]]
    assert len(starts) == 40
    assert starts != sorted(starts)
    assert answer.records == 20


def test_secret_texts_carry_the_canary() -> None:
    """Every text that may hold a secret can be recognised where it must not be."""
    record, rows = ask("record", id="a")["content"], ask("result", id="a")["content"]
    for text in (record["script"], record["parameters"], record["callback"]):
        assert CANARY in text
    failed = next(row for row in rows if row["status"] == "fail")
    for key in ("stdout", "stderr", "message"):
        assert CANARY in failed[key]
    assert next(row for row in rows if row["status"] == "")["stdout"] == ""


def test_stdout_can_be_large() -> None:
    """The size of a row's output is adjustable, for what large pages cost."""
    answer = ObservedDialect(stdout_bytes=2000).answer(make_world(), "result", {"id": "a"})
    assert 1800 < len(body(answer)["content"][0]["stdout"]) <= 2000


@pytest.mark.parametrize(
    ("offset", "written"),
    [(8.0, "2026-09-21T22:13:20+08:00"), (0.0, "2026-09-21T14:13:20Z"), (-3.5, "2026-09-21T10:43:20-03:30")],
)
def test_times_are_in_the_zone_of_the_server(offset: float, written: str) -> None:
    """UTC is written Z, any other zone as an offset; the plain style has no zone."""
    assert write_time(int(NOW), make_zone(offset)) == written
    assert write_time(int(NOW), make_zone(offset), "plain") == written[:19].replace("T", " ")


def test_integers_are_read_strictly() -> None:
    """Digits with a sign, nothing else, no digits of other scripts."""
    assert [integer(text) for text in ("7", "-1", "+2", "1_0", "٣", "", None)] == [
        7,
        -1,
        2,
        None,
        None,
        None,
        None,
    ]


RECORD_KEYS = {
    "id": "str",
    "start_time": "str",
    "end_time": "str",
    "execute_status": "str",
    "result_status": "str",
    "hosts": "str",
    "provider": "str",
    "script": "str",
    "script_type": "str",
    "module_name": "str",
    "timeout": "int",
    "parameters": "str",
    "callback": "str",
}
ROW_NAMES = "recordId hostId hostIp entityId idcName status startTime endTime message stdout stderr"
ROW_KEYS = dict.fromkeys(ROW_NAMES.split(), "str")


def test_documented_records_and_rows_have_the_documented_fields() -> None:
    """Bare snake_case records, camelCase rows, in an array unless there is one only."""
    world, dialect = make_world(), DocumentedDialect(time_format="plain")
    record = body(dialect.answer(world, "record", {"id": "b"}))
    assert shape(record) == RECORD_KEYS
    assert (record["start_time"], record["end_time"]) == ("2026-09-21 22:13:21", "")
    assert shape(body(dialect.answer(world, "result", {"id": "a"}))) == [ROW_KEYS]
    world.blink("a", keep=1)
    assert shape(body(dialect.answer(world, "result", {"id": "a"}))) == ROW_KEYS
    assert body(dialect.answer(world, "result", {"id": "unknown"})) == []


@pytest.mark.parametrize(("items", "keys", "visible"), [("records", RECORD_KEYS, 3), ("rows", ROW_KEYS, 2)])
def test_documented_pages_list_records_or_rows(items: Items, keys: dict[str, str], visible: int) -> None:
    """The item is left open by the document: both readings can be had; parameters are optional."""
    world = make_world(rows_decide=items == "rows")
    answer = DocumentedDialect(items=items).answer(world, "page", {})
    page = body(answer)
    numbers = dict.fromkeys(("pageCount", "pageNo", "pageSize", "totalCount"), "int")
    assert shape(page) == {"list": [keys], **numbers}
    assert [page[key] for key in numbers] == [1, 1, 10, 3]
    assert answer.records == visible


@pytest.mark.parametrize(
    ("endpoint", "query"),
    [("page", {"pageNo": "x"}), ("page", {"pageSize": "-1"}), ("record", {}), ("record", {"id": "unknown"})],
)
def test_documented_errors_are_http_statuses(endpoint: Endpoint, query: dict[str, str]) -> None:
    """400 for what was asked wrongly, 500 for what the server could not do, 401 for credentials."""
    dialect = DocumentedDialect()
    assert dialect.answer(make_world(), endpoint, query).status == 400
    assert dialect.failure("x").status == 500
    assert dialect.unauthorized(known_scheme=True).status == 401
    assert dialect.wrong_content_type().status == 400
