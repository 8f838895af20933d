"""The reading of single answers: what is documented, what was observed, and what neither allows."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.jobapi import decoder
from exporter.jobapi.errors import NotUnderstoodError
from exporter.model import (
    ExecuteStatus,
    HostResult,
    HostStatus,
    Page,
    PageItem,
    Record,
    Results,
    ResultStatus,
)

START = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC).timestamp()
DOCUMENTED = {
    "id": "r1",
    "start_time": "2026-11-23T08:00:00Z",
    "end_time": "2026-11-23T08:01:30Z",
    "execute_status": "done",
    "result_status": "success",
    "hosts": '["a","b"]',
    "provider": "salt",
    "script": "secret",
    "script_type": "bash",
    "module_name": "script",
    "parameters": '{"password":"secret"}',
    "callback": "",
    "timeout": 60,
}
WHOLE = Record(
    id="r1",
    execute_status=ExecuteStatus.DONE,
    result_status=ResultStatus.SUCCESS,
    start=START,
    end=START + 90,
    timeout=60.0,
    expected_hosts=frozenset({"a", "b"}),
    provider="salt",
    script_type="bash",
)


def record(**changes: Any) -> Record:
    return decoder.decode_record(dump({**DOCUMENTED, **changes}), zone=UTC)


def page(content: Any, number: int = 1, size: int = 20) -> Page:
    return decoder.decode_page(dump(content), number=number, size=size, zone=UTC)


def results(content: Any) -> Results:
    return decoder.decode_results(dump(content))


def dump(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()


def wrapped(content: Any, status: str = "success", message: str = "") -> dict[str, Any]:
    return {"status": status, "message": message, "content": content}


def row(host: str | None, **changes: Any) -> dict[str, Any]:
    return {"recordId": "r1", "hostId": host, "idcName": "北京", "status": "success", **changes}


def test_a_documented_record_is_read_whole() -> None:
    """Snake case without an envelope is the documented dialect."""
    assert record() == WHOLE


def test_an_observed_record_is_read_whole() -> None:
    """Camel case in an envelope is the observed dialect, and means the same."""
    names = {
        "start_time": "startTime",
        "end_time": "endTime",
        "execute_status": "executeStatus",
        "result_status": "resultStatus",
        "script_type": "scriptType",
        "module_name": "pattern",
    }
    observed = {names.get(key, key): value for key, value in DOCUMENTED.items()}
    assert decoder.decode_record(dump(wrapped(observed)), zone=UTC) == WHOLE


def test_a_record_of_an_id_alone_is_open_and_says_nothing_else() -> None:
    """Every field but the id is optional."""
    expected = Record(id="r1", execute_status=ExecuteStatus.DOING)
    assert decoder.decode_record(b'{"id":"r1"}', zone=UTC) == expected
    nulls = dict.fromkeys(DOCUMENTED) | {"id": "r1"}
    assert decoder.decode_record(dump(nulls), zone=UTC) == expected


@pytest.mark.parametrize(
    ("execute", "result", "meaning"),
    [
        ("done", "success", (ExecuteStatus.DONE, ResultStatus.SUCCESS, ())),
        (" DONE ", " Failed\n", (ExecuteStatus.DONE, ResultStatus.FAIL, ())),
        ("done", "fail", (ExecuteStatus.DONE, ResultStatus.FAIL, ())),
        ("done", "error", (ExecuteStatus.DONE, ResultStatus.FAIL, ())),
        ("done", "TIMEOUT", (ExecuteStatus.DONE, ResultStatus.TIMEOUT, ())),
        ("done", "cancel", (ExecuteStatus.DONE, ResultStatus.CANCELLED, ())),
        ("done", "canceled", (ExecuteStatus.DONE, ResultStatus.CANCELLED, ())),
        ("done", "CANCELLED", (ExecuteStatus.DONE, ResultStatus.CANCELLED, ())),
        ("done", "", (ExecuteStatus.DONE, None, ())),
        ("done", "skipped", (ExecuteStatus.DONE, ResultStatus.UNKNOWN, ("result_status",))),
        ("init", "", (ExecuteStatus.INIT, None, ())),
        ("doing", "", (ExecuteStatus.DOING, None, ())),
        ("paused", "", (ExecuteStatus.DOING, None, ("execute_status",))),
        ("cancelled", "", (ExecuteStatus.DONE, ResultStatus.CANCELLED, ())),
        ("Cancel", "timeout", (ExecuteStatus.DONE, ResultStatus.TIMEOUT, ())),
        ("", "", (ExecuteStatus.DOING, None, ())),
        ("", "success", (ExecuteStatus.DONE, ResultStatus.SUCCESS, ())),
        (None, "success", (ExecuteStatus.DONE, ResultStatus.SUCCESS, ())),
    ],
)
def test_statuses_are_normalised(execute: str | None, result: str, meaning: tuple[object, ...]) -> None:
    """All spellings become documented statuses; any other value is named in `unknown_fields`."""
    told = record(execute_status=execute, result_status=result)
    assert (told.execute_status, told.result_status, told.unknown_fields) == meaning


def test_a_result_without_end_and_execute_status_is_still_open() -> None:
    """Without an execute status, a record is done only if it has both a result and an end."""
    assert record(execute_status="", end_time="").execute_status is ExecuteStatus.DOING


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T08:00:00Z", START),
        ("2026-11-23T08:00:00z", START),
        ("2026-11-23T16:00:00+08:00", START),
        ("2026-11-23T16:00:00.25+08:00", START + 0.25),
        ("2026-11-23T08:00:00.123456789Z", START + 0.123456),
        ("2026-11-23 09:00:00", START),
        ("2026-11-23T09:00:00", START),
        (" 2026-11-23 09:00:00 ", START),
        ("2026/11/23 09:00:00", START),
        ("2026/11/23T09:00:00.5", START + 0.5),
        ("Mon, 23 Nov 2026 08:00:00 GMT", START),
        ("Mon, 23 Nov 2026 16:00:00 +0800", START),
        (str(int(START)), START),
        (f"{START:.3f}", START),
        (f"{START:.0f}000", START),
        (int(START), START),
        (START + 0.5, START + 0.5),
        (int(START) * 1000 + 250, START + 0.25),
        ("9999-12-31T23:59:59Z", 253402300799.0),
        ("9999-12-31T23:59:59-14:00", 253402351199.0),
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00Z", None),
        ("0000/00/00 00:00:00", None),
        (0, None),
        ("0", None),
        ("0001-01-01T08:05:43+08:05", None),
        ("0000-00-00 00:00:00", None),
        ("", None),
        (None, None),
    ],
)
def test_times_of_every_kind(text: str | float | None, moment: float | None) -> None:
    """Offsets are respected, times without one are in the configured zone, and zero times are None."""
    body = dump({**DOCUMENTED, "start_time": text})
    told = decoder.decode_record(body, zone=ZoneInfo("Europe/Berlin"))
    assert told.start == moment
    assert told.unknown_fields == ()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "yesterday",
            "20261123",
            "2026-11-23",
            "2026-13-01T00:00:00Z",
            "23/11/2026 08:00:00",
            "11:00",
            "NaN",
        ),
        *(
            "Mon, 42 Nov 2026 08:00:00 GMT",
            "Mon, 23 Foo 2026 08:00:00 GMT",
            "Mon, 23 Nov 2026 08:00:00 +9999",
        ),
        *(-1, 7, 1e300, 10**300, "9" * 15, True, ["2026-11-23T08:00:00Z"], {}),
    ],
)
def test_times_that_cannot_be_read_are_named(text: object) -> None:
    """An unreadable time is None, and its field is unknown."""
    told = record(end_time=text)
    assert told.end is None
    assert told.unknown_fields == ("end_time",)


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59", "9999-12-31T23:59:59-23:59", "0001-01-02T00:00:00+23:59"]
)
def test_times_at_the_ends_of_the_calendar_are_times(text: str) -> None:
    """Times at the ends of the calendar are read."""
    assert decoder.decode_record(
        dump({**DOCUMENTED, "end_time": text}), zone=ZoneInfo("America/New_York")
    ).end


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ('["a", "b", "a"]', {"a", "b"}),
        (["a", "b"], {"a", "b"}),
        ("a, b,,", {"a", "b"}),
        ("a", {"a"}),
        ("[]", set()),
        ("null", set()),
        ("", None),
        (None, None),
        ([7, "a"], {"7", "a"}),
        ("[7, 8]", {"7", "8"}),
    ],
)
def test_expected_hosts_of_every_kind(hosts: object, expected: set[str] | None) -> None:
    """An array, an array in a string and a plain list are hosts; "[]" means none, "" means not known."""
    told = record(hosts=hosts)
    assert told.expected_hosts == expected
    assert told.unknown_fields == ()


@pytest.mark.parametrize("hosts", ['["a', "[1.5]", "[[[[", '{"a":1}'.replace("{", "[")])
def test_expected_hosts_that_cannot_be_read_are_named(hosts: str) -> None:
    """A malformed array is None, and its field is unknown."""
    told = record(hosts=hosts)
    assert told.expected_hosts is None
    assert told.unknown_fields == ("hosts",)


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [
        (60, 60.0),
        (315_360_000, 315_360_000.0),
        (0, None),
        (-1, None),
        (None, None),
        (10**400, None),
        (2**53, None),
    ],
)
def test_timeouts(timeout: int | None, expected: float | None) -> None:
    """A timeout is a positive number of seconds that a float can represent; everything else is None."""
    assert record(timeout=timeout).timeout == expected


def test_labels_are_stripped_shortened_and_never_empty() -> None:
    """A label value is bounded and never empty."""
    told = record(provider="  ", script_type=f" \0{'长' * 200}")
    assert told.provider == "unknown"
    assert told.script_type == "\ufffd" + "长" * 127


@pytest.mark.parametrize(
    "field", ["timeout", "provider", "start_time", "execute_status", "hosts", "script_type"]
)
def test_a_field_of_the_wrong_type_costs_only_itself(field: str) -> None:
    """The rest of the record is read, and the field is named."""
    told = record(**{field: {"not": ["this"]}})
    assert told.id == "r1"
    assert told.unknown_fields == (field,)
    assert told.result_status is ResultStatus.SUCCESS


def test_a_wrong_type_in_the_observed_spelling_has_the_same_name() -> None:
    """Both dialects are counted under the documented name."""
    told = decoder.decode_record(
        dump(wrapped({"id": "r1", "startTime": [], "executeStatus": "doing"})), zone=UTC
    )
    assert told.unknown_fields == ("start_time",)


@pytest.mark.parametrize("record_id", ["x" * 64, "语" * 64, " ", "a/b?c=d&e#f", '"\n'])
def test_strange_ids_are_ids(record_id: str) -> None:
    """Any string of 1 to 64 characters is an id."""
    assert record(id=record_id).id == record_id


@pytest.mark.parametrize("record_id", ["", "x" * 65, None, 10**64, 1.5, True, ["a"], "a\0b"])
def test_a_record_without_a_readable_id_is_not_understood(record_id: object) -> None:
    """A record without a readable id is refused."""
    with pytest.raises(NotUnderstoodError, match="readable id"):
        record(id=record_id)


def test_a_page_of_host_rows_is_folded_to_its_records() -> None:
    """A record is one item, however many host rows it has."""
    rows = [
        {"recordId": "r1", "startTime": "2026-11-23T16:00:00+08:00", "status": "error", "stdout": "x" * 100},
        {"recordId": "r2", "startTime": "0001-01-01T00:00:00Z", "status": ""},
        {"recordId": "r1", "startTime": "2026-11-23T16:00:00+08:00", "status": "success"},
        {"recordId": "r3", "startTime": "soon"},
    ]
    told = page(
        wrapped({"PageNo": 3, "PageSize": 20, "PageCount": 3, "TotalCount": 44, "List": rows}), number=3
    )
    items = (PageItem(id="r1", start=START), PageItem(id="r2"), PageItem(id="r3"))
    assert told == Page(number=3, size=20, total=44, items=items)


def host_row(host: str | None = "a", **changes: Any) -> dict[str, Any]:
    usual = {
        "recordId": "r1",
        "hostId": host,
        "idcName": "hz",
        "status": "success",
        "startTime": "2026-11-23T16:00:00+08:00",
        "endTime": "2026-11-23T16:01:30+08:00",
    }
    return {**usual, **changes}


def test_host_rows_on_a_page_tell_when_their_record_ended() -> None:
    """Host rows on a page have the end of their record."""
    told = page({"list": [host_row(), host_row("b", status="error")], "totalCount": 2}).items[0]
    assert (told.start, told.ended) == (START, START + 90)


@pytest.mark.parametrize(
    "rows",
    [
        [host_row(endTime="2026-11-23T16:00:00+08:00")],
        [host_row(endTime="0001-01-01T00:00:00Z")],
        [host_row(endTime="2026-11-23T15:00:00+08:00")],
        [host_row(startTime=None)],
        [host_row(endTime="soon")],
        [host_row(), host_row("b", endTime="2026-11-23T16:01:31+08:00")],
    ],
    ids=["runs", "no end", "ends before", "no start", "odd end", "two ends"],
)
def test_rows_that_may_not_be_the_last_word_tell_no_end(rows: list[dict[str, Any]]) -> None:
    """While a record runs its rows repeat the start as the end."""
    assert page({"list": rows, "totalCount": 1}).items[0].ended is None


def test_a_page_of_whole_records_carries_them() -> None:
    """Items of the documented kind need no look-up."""
    told = page({"list": [DOCUMENTED], "pageNo": 1, "pageSize": 20, "pageCount": 1, "totalCount": 1})
    assert told.items == (PageItem(id="r1", start=START, record=WHOLE),)


@pytest.mark.parametrize("missing", ["execute_status", "result_status", "end_time"])
def test_a_thin_item_is_only_an_id(missing: str) -> None:
    """A finished record with a missing field on its page is looked up."""
    thin = {key: value for key, value in DOCUMENTED.items() if key != missing}
    told = page({"list": [thin], "totalCount": 1})
    assert [(item.id, item.start, item.record) for item in told.items] == [("r1", START, None)]


def test_a_thin_item_of_an_open_record_is_whole() -> None:
    """An open record without result and end is whole."""
    (item,) = page({"list": [{"id": "r1", "execute_status": "init"}], "totalCount": 1}).items
    assert item.record == Record(id="r1", execute_status=ExecuteStatus.INIT)


@pytest.mark.parametrize("spelling", ["list", "List"])
def test_an_empty_list_may_be_null(spelling: str) -> None:
    """The observed platform says null for an empty database."""
    assert page({spelling: None, "totalCount": 0}) == Page(number=1, size=20, total=0, items=())


@pytest.mark.parametrize("body", [{"list": [host_row()]}, {"List": [DOCUMENTED]}, {"list": [DOCUMENTED]}])
def test_a_page_that_shows_records_of_none_is_refused(body: dict[str, Any]) -> None:
    """A totalCount of 0 beside records is false: all records would seem deleted, and then new."""
    with pytest.raises(NotUnderstoodError, match="a page of records whose totalCount is 0"):
        page({**body, "totalCount": 0})


@pytest.mark.parametrize("page_of", [{}, {"pageCount": 7}, {"totalCount": None}])
@pytest.mark.parametrize("size", [1, 20])
def test_a_page_without_a_total_is_not_understood(page_of: dict[str, Any], size: int) -> None:
    """A page without totalCount is refused, because new records could not be found."""
    with pytest.raises(NotUnderstoodError, match="a page without totalCount"):
        page({"list": [{"recordId": "r1"}], **page_of}, size=size)


@pytest.mark.parametrize("total", [-1, 2**53, 10**30])
def test_a_total_that_counts_nothing_is_refused(total: int) -> None:
    """A negative or inexact total is refused."""
    with pytest.raises(NotUnderstoodError, match="out of range"):
        page({"list": [], "totalCount": total})


@pytest.mark.parametrize("odd", [{"pageSize": []}, {"pageCount": "5"}, {"pageNo": {}}])
def test_numbers_of_a_page_that_nobody_needs_may_be_odd(odd: dict[str, Any]) -> None:
    """Other fields of a page than list and total may have any type."""
    assert page({"list": [{"recordId": "r1"}], "totalCount": 1, **odd}).items == (PageItem(id="r1"),)


def test_a_platform_that_caps_the_page_size_is_refused() -> None:
    """Pages smaller than requested are refused, and the message says which size to set."""
    body = {"list": [], "pageNo": 4, "pageSize": 20, "pageCount": 8, "totalCount": 158}
    with pytest.raises(NotUnderstoodError, match=r"set api\.page-size to 20"):
        page(body, number=4, size=50)
    short = {"list": [], "pageNo": 4, "pageSize": 8, "pageCount": 4, "totalCount": 158}
    assert page(short, number=4, size=50).total == 158


def test_bad_items_of_a_page_cost_only_themselves() -> None:
    """An item with an odd field keeps the others; an item without an id is counted."""
    items = [
        {"recordId": "r1"},
        {"recordId": "r2", "startTime": []},
        {**DOCUMENTED, "id": "r3", "timeout": "soon"},
        {"recordId": 5.5},
        {"recordId": "x" * 65},
        {"recordId": ""},
        {},
        None,
        7,
        ["r4"],
        "r5",
    ]
    told = page({"list": items, "totalCount": 11})
    assert told.items == (PageItem(id="r1"), PageItem(id="r2"), PageItem(id="r3", start=START))
    assert told.bad_items == 8


def test_items_without_an_id_are_counted() -> None:
    """Rows that are well formed but name no record are bad items."""
    told = page({"list": [{"status": "success"}, {"recordId": "r1"}, {"id": "x" * 65}], "totalCount": 3})
    assert told.items == (PageItem(id="r1"),)
    assert told.bad_items == 2


@pytest.mark.parametrize(
    "content",
    [{"list": {}}, {"list": "x"}, {"totalCount": "5"}, {"TotalCount": 5.5}, {"List": 5}],
)
def test_a_page_with_a_wrong_frame_is_refused(content: object) -> None:
    """A list or total of the wrong type is refused."""
    with pytest.raises(NotUnderstoodError, match="wrong type"):
        page(content)


@pytest.mark.parametrize(
    "content", [{}, {"error": "maintenance"}, {"pageNo": 1}, [], None, 5, "x", wrapped(None)]
)
def test_json_that_is_no_page_is_refused(content: object) -> None:
    """JSON without list and total is no page."""
    with pytest.raises(NotUnderstoodError, match="instead of a page"):
        page(content)


@pytest.mark.parametrize("content", [[], None, 5, "x", wrapped(None), wrapped([DOCUMENTED])])
def test_json_that_is_no_record_is_refused(content: object) -> None:
    """Only an object is a record."""
    with pytest.raises(NotUnderstoodError, match="no object"):
        decoder.decode_record(dump(content), zone=UTC)


@pytest.mark.parametrize(
    ("status", "meaning", "unknown"),
    [
        ("success", HostStatus.SUCCESS, False),
        ("SUCCESS ", HostStatus.SUCCESS, False),
        ("fail", HostStatus.FAIL, False),
        ("error", HostStatus.FAIL, False),
        ("timeout", HostStatus.TIMEOUT, False),
        ("cancel", HostStatus.CANCELLED, False),
        ("skipped", HostStatus.UNKNOWN, True),
        ("unreported", HostStatus.UNKNOWN, True),
        ("", None, False),
        (" ", None, False),
        (None, None, False),
    ],
)
def test_host_statuses_are_normalised(status: str | None, meaning: HostStatus | None, unknown: bool) -> None:
    """Host statuses are normalised as those of records; an empty one is not reported yet."""
    expected = HostResult(host_id="a", names=("a",), idc="北京", status=meaning, unknown_status=unknown)
    assert results(wrapped([row("a", status=status)])) == Results(rows=(expected,))


def test_results_of_every_form() -> None:
    """Results are an array or one object, bare or in an envelope."""
    one = Results(rows=(HostResult(host_id="a", names=("a",), idc="北京", status=HostStatus.SUCCESS),))
    for content in (row("a"), [row("a")]):
        assert results(content) == one
        assert results(wrapped(content)) == one
    assert results(row("a", status="error", message="no route")).rows[0].status is HostStatus.FAIL


@pytest.mark.parametrize("content", [[], None, wrapped([]), wrapped(None)])
def test_results_may_be_empty(content: object) -> None:
    """Results without rows are valid."""
    assert results(content) == Results(rows=())


def test_the_same_host_may_have_several_rows() -> None:
    """Several rows of one host are all kept."""
    told = results([row("a"), row("a", status="fail")])
    assert [host.status for host in told.rows] == [HostStatus.SUCCESS, HostStatus.FAIL]


def test_a_row_without_host_id_is_told_apart_by_its_address() -> None:
    """A host without id is identified by its address; a row without both is bad."""
    told = results([row("", hostIp="10.0.0.1", idcName=None), row("", hostIp="")])
    assert told.rows == (
        HostResult(host_id="10.0.0.1", names=("10.0.0.1",), idc="unknown", status=HostStatus.SUCCESS),
    )
    assert told.bad_rows == 1


def test_bad_rows_cost_only_themselves() -> None:
    """A row with an odd field keeps its host; a row without a host is counted."""
    told = results(wrapped([row("a"), row("b", status=5), row("c", idcName=[]), {"hostId": 5.5}, None, "x"]))
    assert told.rows == (
        HostResult(host_id="a", names=("a",), idc="北京", status=HostStatus.SUCCESS),
        HostResult(host_id="b", names=("b",), idc="北京", status=None),
        HostResult(host_id="c", names=("c",), idc="unknown", status=HostStatus.SUCCESS),
    )
    assert told.bad_rows == 5


@pytest.mark.parametrize(
    "content", [{}, {"message": "maintenance"}, 5, "x", True, wrapped({}), {"hostId": 5.5}]
)
def test_json_that_is_no_result_is_refused(content: object) -> None:
    """One object is a row only if it names a host."""
    with pytest.raises(NotUnderstoodError, match="instead of results"):
        results(content)


@pytest.mark.parametrize("message", ["record not found", "Record Not Found ", "invalid user"])
def test_a_status_error_is_the_platforms_own(message: str) -> None:
    """An envelope with status error raises a PlatformError with its message."""
    for content in (wrapped(None, "error", message), {"status": "ERROR", "message": message}):
        for decode in (page, results):
            with pytest.raises(decoder.PlatformError) as caught:
                decode(content)
            assert str(caught.value) == message.strip()


@pytest.mark.parametrize("message", ["", None, 5, {"a": 1}])
def test_an_error_may_come_without_a_message(message: object) -> None:
    """An error without a readable message gets one."""
    with pytest.raises(decoder.PlatformError, match="an error without a message"):
        page({"status": "error", "message": message, "content": None})


def test_messages_of_the_platform_are_short_and_on_one_line() -> None:
    """A message of the platform is cut to 200 characters, and control characters are escaped."""
    said = decoder.one_line("Error 1064:\n\x1b[31m near\u2028'" + "x" * 500)
    assert said.startswith(r"Error 1064:\n\x1b[31m near\u2028'xxx")
    assert len(said) == 200


def test_a_content_with_another_status_is_an_error() -> None:
    """A content with another status than success is an error."""
    with pytest.raises(decoder.PlatformError, match="partly"):
        page(wrapped({"List": [], "TotalCount": 0}, "failed", "partly"))


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b"", "an empty body"),
        (b" \r\n", "an empty body"),
        (b"<!doctype html><html>secret</html>", "HTML instead of JSON"),
        (b"\n  <html>", "HTML instead of JSON"),
        (b"404 page not found\n", "text instead of JSON"),
        (b"NaN", "text instead of JSON"),
        (b'{"status":"success","content":[{"hostId":"sec', "cut short"),
        (b'{"totalCount":NaN}', "malformed JSON: invalid character"),
        (b'{"list":[],"totalCount":-Infinity}', "malformed JSON: invalid character"),
        (b'[{"hostId":"a","x":"\\NaN"}]', "invalid escape"),
        (b'[{"hostId":"a"},]', "malformed JSON"),
        (b'{"list":[],"totalCount":1}}', "malformed JSON"),
        (b'{"hostId":"\xff","status":"\xff","content":"\xff"}\0', "malformed JSON"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b'{"hostId":"a","x":' + b"[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_no_json_is_said_without_its_content(body: bytes, seen: str) -> None:
    """A body without JSON raises a NotUnderstoodError that says what it is without quoting it."""
    for decode in (page, results):
        with pytest.raises(NotUnderstoodError, match=seen) as caught:
            decode(body)
        assert "sec" not in str(caught.value).replace("seconds", "")


def test_invalid_utf8_costs_only_its_field() -> None:
    """What is not UTF-8 is replaced, as lone surrogates are; a name with it is bad, because it may be two."""
    body = b'[{"hostId":"\xb1\xb1\xbe\xa9","status":"success"},{"hostId":"a","idcName":"\xff"}]'
    assert results(body) == Results(
        rows=(HostResult(host_id="a", names=("a",), idc="\ufffd", status=None),), bad_rows=1
    )


@pytest.mark.parametrize("half", [r"\ud83d", r"\uDE00", r"\ud83dx", r"\ude00\ud83d", r"\\\ud83d"])
@pytest.mark.parametrize("field", ["stdout", "stderr", "message", "idcName", "extra"])
def test_half_an_emoji_costs_only_a_character(half: str, field: str) -> None:
    """A lone surrogate, as in an output that was cut, is replaced; all else is read."""
    body = dump(wrapped([row("a"), row("b", **{field: "HALF"}), row("c\\")])).replace(b"HALF", half.encode())
    told = results(body)
    assert [(host.host_id, host.status) for host in told.rows] == [
        (name, HostStatus.SUCCESS) for name in ("a", "b", "c\\")
    ]
    assert told.bad_rows == 0
    if field == "idcName":
        assert "\ufffd" in told.rows[1].idc


def test_half_an_emoji_on_a_page_and_in_a_record() -> None:
    """Lone surrogates are replaced on pages and in records too."""
    items = dump({"list": [host_row(stdout="HALF"), host_row(recordId="r2")], "totalCount": 2})
    assert [item.id for item in page(items.replace(b"HALF", rb"\ud83d")).items] == ["r1", "r2"]
    told = decoder.decode_record(
        dump({**DOCUMENTED, "provider": "HALF"}).replace(b"HALF", rb"s\udc00"), zone=UTC
    )
    assert (told.id, told.provider, told.unknown_fields) == ("r1", "s\ufffd", ())


@pytest.mark.parametrize("ahead", [b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
def test_a_byte_order_mark_is_left_out(ahead: bytes) -> None:
    """A byte order mark before the JSON is ignored."""
    assert page(ahead + dump({"list": [], "totalCount": 3})).total == 3
    assert decoder.decode_record(ahead + dump(wrapped(DOCUMENTED)), zone=UTC) == WHOLE
    assert len(results(ahead + dump([row("a"), row("b", status=[])])).rows) == 2


def test_ids_may_be_numbers() -> None:
    """Numeric ids are read as text on pages, in records and in rows."""
    told = page(
        {"list": [{"recordId": 7}, {"recordId": "7"}, {"id": 2**70}, {"recordId": -1}], "totalCount": 3}
    )
    assert [item.id for item in told.items] == ["7", str(2**70), "-1"]
    assert told.bad_items == 0
    assert record(id=7).id == "7"
    assert [host.names for host in results([row("", hostId=7, hostIp="10.0.0.7", entityId=9)]).rows] == [
        ("7", "10.0.0.7", "9")
    ]


def test_a_host_has_all_the_names_that_its_row_gives() -> None:
    """A host has its id, address and entity id as names, if given."""
    given = [row("a", hostIp="10.0.0.1", entityId="e1"), row("", hostIp="10.0.0.2"), row(None, entityId="e3")]
    assert [(host.host_id, host.names) for host in results(given).rows] == [
        ("a", ("a", "10.0.0.1", "e1")),
        ("10.0.0.2", ("10.0.0.2",)),
        ("e3", ("e3",)),
    ]


def test_of_doubled_keys_the_last_counts() -> None:
    """The last of several equal keys counts."""
    assert decoder.decode_record(b'{"id":"r1","id":"r2"}', zone=UTC).id == "r2"


def test_unneeded_fields_are_never_looked_at() -> None:
    """Unneeded fields may have any type and encoding."""
    body = b'[{"hostId":"a","status":"success","stdout":{"a":[1,2]},"stderr":"\xff\xfe","message":7}]'
    assert results(body).bad_rows == 0
