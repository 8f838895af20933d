"""Every recorded response of a real platform, through the client, against what it says."""

import re
from collections import Counter
from datetime import UTC, datetime

import httpx
import pytest

from exporter.jobapi.client import JobApi
from exporter.jobapi.errors import ApiError, RecordNotFound
from exporter.model import Page, Record, Results
from tests.harness.recorded import FOLDER, config, recordings

# Pages: "<records visible> of <total>, <with a start> timed, <first start> to <last start>".
# Records: "<execute>/<result> <start> +<seconds to the end> of <timeout>, <hosts>, <provider> <type>".
# Results: rows by IDC and status, "-" for not reported yet. Failures: the reason and the platform's words.
# Where the index and the file differ, the file is the platform: page-negative-no is an empty success,
# and page-3-20 holds no 1000-host jobs.
EXPECTED = """
acl-bearer                                auth invalid authorization data
acl-missing-content-type                  auth invalid authorization data
acl-page-exporter-role-added-policy       2 of 158, 1 timed, 2019-03-05T02:11:12Z to 2019-03-05T02:11:12Z
acl-page-no-auth                          auth invalid authorization data
acl-page-root-role-shipped-policy         auth HTTP 403
acl-page-unknown-user                     auth invalid user
acl-page-user-role-shipped-policy         auth HTTP 403
acl-page-wrong-password                   auth invalid user
acl-record-exporter-role                  done/success 2026-11-23T08:25:21Z +0 of 20, 1 hosts, ssh bash
dbdown-page                               api dial tcp 127.0.0.1:13306: connect: connection refused
dbdown-record                             api dial tcp 127.0.0.1:13306: connect: connection refused
dbdown-result                             api dial tcp 127.0.0.1:13306: connect: connection refused
empty-page-1-20                           0 of 0
empty-page-3-20                           0 of 0
empty-record-unknown                      not found
empty-result-unknown                      nothing
page-0-5-pageno0                          5 of 158, 4 timed, 2019-03-05T02:11:12Z to 2026-11-20T00:00:00Z
page-1-1                                  1 of 158
page-1-10-defaults-size0                  10 of 158, 9 timed, 2019-03-05T02:11:12Z to 2026-11-22T08:32:45Z
page-1-20                                 20 of 158, 19 timed, 2019-03-05T02:11:12Z to 2026-11-22T18:32:44Z
page-2-20                                 20 of 158, 20 timed, 2026-11-22T19:32:44Z to 2026-11-23T08:19:08Z
page-3-20                                 20 of 158, 20 timed, 2026-11-23T08:19:09Z to 2026-11-23T08:19:28Z
page-4-20                                 8 of 158, 8 timed, 2026-11-23T08:19:28Z to 2026-11-23T08:19:35Z
page-8-20-last                            14 of 158, 14 timed, 2026-11-23T08:31:41Z to 2026-11-24T08:32:41Z
page-9-20-beyond-end                      0 of 158
page-999999-20-beyond-end                 0 of 158
page-accept-only                          http HTTP 415
page-content-type-charset                 2 of 158, 1 timed, 2019-03-05T02:11:12Z to 2019-03-05T02:11:12Z
page-content-type-text                    http HTTP 415
page-content-type-upper                   2 of 158, 1 timed, 2019-03-05T02:11:12Z to 2019-03-05T02:11:12Z
page-dot-json                             2 of 158, 1 timed, 2019-03-05T02:11:12Z to 2019-03-05T02:11:12Z
page-gzip-accept                          20 of 158, 19 timed, 2019-03-05T02:11:12Z to 2026-11-22T18:32:44Z
page-head                                 http HTTP 405
page-lowercase-params                     api pageNo is not int
page-missing-both                         api pageNo is not int
page-missing-no                           api pageNo is not int
page-missing-size                         api pageSize is not int
page-negative-no                          0 of 158
page-no-content-type                      http HTTP 415
page-nonint-no                            api pageNo is not int
page-nonint-size                          api pageSize is not int
page-overflow-size                        api pageSize is not int
page-plus-sign                            api pageNo is not int
page-post                                 http HTTP 405
page-trailing-slash                       http HTTP 404
record-doing-no-host-rows-wedged-master   doing/- 2026-11-23T08:19:48Z +0 of 20, 1 hosts, ssh bash
record-empty-id                           api id can not be null
record-missing-id                         api id can not be null
record-no-content-type                    http HTTP 415
record-real-2hosts-ssh-loopvar            done/timeout 2026-11-23T08:17:54Z +30 of 30, 2 hosts, ssh bash
record-real-2idc-shenzhen-shanghai        done/success 2026-11-23T08:31:42Z +1 of 12, 3 hosts, salt bash
record-real-3idc-all-success-but-timeout  done/timeout 2026-11-23T08:22:32Z +12 of 12, 3 hosts, ssh bash
record-real-3idc-doing-all-hosts-success  doing/- 2026-11-23T08:46:03Z +0 of 30, 3 hosts, ssh bash
record-real-3idc-success                  done/success 2026-11-23T08:22:33Z +3 of 12, 3 hosts, ssh bash
record-real-50hosts-10silent-timeout      done/timeout 2026-11-23T08:31:41Z +6 of 6, 50 hosts, salt bash
record-real-50hosts-3fail                 done/fail 2026-11-23T08:31:41Z +1 of 60, 50 hosts, salt bash
record-real-50hosts-success               done/success 2026-11-23T08:31:40Z +1 of 60, 50 hosts, salt bash
record-real-all-fail                      done/fail 2026-11-23T08:31:42Z +1 of 30, 2 hosts, salt bash
record-real-all-timeout                   done/timeout 2026-11-23T08:31:41Z +4 of 4, 2 hosts, salt bash
record-real-badpw                         done/fail 2026-11-23T08:25:22Z +0 of 20, 1 hosts, ssh bash
record-real-big                           done/success 2026-11-23T08:25:23Z +0 of 20, 1 hosts, ssh bash
record-real-callback                      done/fail 2026-11-23T08:27:29Z +1 of 20, 2 hosts, salt bash
record-real-doing-none-longrunning        doing/- 2026-11-23T08:31:42Z +0 of 10y, 2 hosts, salt bash
record-real-doing-partial-longrunning     doing/- 2026-11-23T08:31:42Z +0 of 10y, 3 hosts, salt bash
record-real-empty                         done/success 2026-11-23T08:25:22Z +0 of 20, 1 hosts, ssh bash
record-real-exit3                         done/fail 2026-11-23T08:25:21Z +1 of 20, 1 hosts, ssh bash
record-real-fastfail-fail                 done/fail 2026-11-23T08:21:52Z +0 of 8, 1 hosts, ssh bash
record-real-fastfail-timeout              done/timeout 2026-11-23T08:21:51Z +0 of 8, 1 hosts, ssh bash
record-real-multiline-stderr              done/fail 2026-11-23T08:31:43Z +1 of 30, 1 hosts, salt bash
record-real-proxydown                     done/timeout 2026-11-23T08:25:24Z +0 of 8, 1 hosts, ssh bash
record-real-proxydown2                    done/timeout 2026-11-23T08:25:24Z +0 of 8, 2 hosts, ssh bash
record-real-refused                       done/timeout 2026-11-23T08:25:23Z +0 of 8, 1 hosts, ssh bash
record-real-ssh-unknown-idc               doing/- 2026-11-23T08:45:54Z +0 of 5, 0 hosts, ssh bash
record-real-ssh-unknown-idc-after-restart done/timeout 2026-11-23T08:45:54Z +73 of 5, 0 hosts, ssh bash
record-real-stderr                        done/success 2026-11-23T08:25:22Z +1 of 20, 1 hosts, ssh bash
record-real-timeout5                      done/timeout 2026-11-23T08:25:22Z +5 of 5, 1 hosts, ssh bash
record-real-unicode                       done/success 2026-11-23T08:25:21Z +0 of 20, 1 hosts, ssh bash
record-real-urls                          done/success 2026-11-23T08:26:07Z +3 of 20, 2 hosts, salt url
record-real-weird-host-status             done/fail 2026-11-23T08:31:43Z +1 of 30, 2 hosts, salt bash
record-sql-UPPERCASE-DOING                doing/- 2026-11-23T08:29:50Z +0 of 10y, 2 hosts, salt bash
record-sql-UPPERCASE-DONE-SUCCESS         done/success 2026-11-23T08:29:40Z +180 of 10y, 2 hosts, salt bash
record-sql-doing-future-start             doing/- 2026-11-24T08:32:41Z +0 of 10y, 1 hosts, salt bash
record-sql-doing-no-host-rows             doing/- 2026-11-23T08:32:39Z +0 of 10y, 2 hosts, salt bash
record-sql-doing-no-task                  doing/- 2026-11-23T08:32:39Z +0 of 10y, 2 hosts, salt bash
record-sql-doing-null-host-cols           doing/- 2026-11-23T08:32:39Z - of 10y, 2 hosts, unknown unknown
record-sql-doing-partial                  doing/- 2026-11-23T08:32:39Z +0 of 10y, 4 hosts, salt bash
record-sql-doing-zero-start-time          doing/- - - of 10y, 1 hosts, salt bash
record-sql-done-cancel                    done/cancelled 2026-11-23T08:29:20Z +200 of 10y, 3 hosts, salt bash
record-sql-done-cancelled                 done/cancelled 2026-11-23T08:29:30Z +190 of 10y, 3 hosts, salt bash
record-sql-done-end-before-start          done/success 2026-11-23T08:32:41Z +-90 of 10y, 1 hosts, salt bash
record-sql-done-fail-partial-5idc         done/fail 2026-11-23T07:32:40Z +3600 of 10y, 10 hosts, salt bash
record-sql-done-mixed3                    done/fail 2026-11-23T08:28:30Z +250 of 10y, 6 hosts, salt bash
record-sql-done-multi-ip-host             done/success 2026-11-23T08:31:11Z +90 of 10y, 1 hosts, salt bash
record-sql-done-no-host-rows              done/timeout 2026-11-23T08:30:20Z +141 of 10y, 2 hosts, salt bash
record-sql-done-null-result               done/- 2026-11-23T08:30:51Z +110 of 10y, 1 hosts, salt bash
record-sql-done-success-5idc              done/success 2026-11-23T06:32:39Z +7200 of 10y, 10 hosts, salt bash
record-sql-done-success-host-open         done/success 2026-11-23T08:31:01Z +100 of 10y, 3 hosts, salt bash
record-sql-done-timeout                   done/timeout 2026-11-23T08:27:40Z +300 of 300, 4 hosts, salt bash
record-sql-done-unknown-status            done/unknown 2026-11-23T08:31:21Z +80 of 10y, 1 hosts, salt bash, unknown result_status
record-sql-exec-status-cancelled          done/cancelled 2026-11-23T08:30:00Z +160 of 10y, 2 hosts, salt bash
record-sql-init                           init/- 2026-11-23T08:32:39Z +0 of 10y, 3 hosts, salt bash
record-sql-init-null-end-null-result      init/- 2026-11-23T08:32:39Z - of 10y, 1 hosts, salt bash
record-sql-non-uuid-id                    done/success 2026-11-23T08:31:32Z +70 of 10y, 1 hosts, salt bash
record-sql-old-2019                       done/success 2019-03-05T02:11:12Z +48 of 10y, 2 hosts, salt bash
record-sql-old-doing-2019                 doing/- 2019-03-05T02:20:00Z +0 of 10y, 2 hosts, salt bash
record-sql-same-second-1                  done/success 2026-11-20T00:00:00Z +5 of 10y, 1 hosts, salt bash
record-sql-script-type-file-url           done/success 2026-11-23T08:31:42Z +60 of 10y, 1 hosts, puppet url
record-unknown-id                         not found
result-doing-no-host-rows-wedged-master   nothing
result-missing-id                         api id can not be null
result-no-content-type                    http HTTP 415
result-real-2hosts-ssh-loopvar            杭州 success 1, 杭州 timeout 1
result-real-2idc-shenzhen-shanghai        上海 success 2, 深圳 success 1
result-real-3idc-all-success-but-timeout  guangzhou-01 success 1, 北京 success 1, 杭州 success 1
result-real-3idc-doing-all-hosts-success  guangzhou-01 success 1, 北京 success 1, 杭州 success 1
result-real-3idc-success                  guangzhou-01 success 1, 北京 success 1, 杭州 success 1
result-real-50hosts-10silent-timeout      深圳 success 40, 深圳 timeout 10
result-real-50hosts-3fail                 深圳 fail 3, 深圳 success 47
result-real-50hosts-success               深圳 success 50
result-real-all-fail                      深圳 fail 2
result-real-all-timeout                   深圳 timeout 2
result-real-badpw                         杭州 fail 1
result-real-callback                      深圳 fail 1, 深圳 success 1
result-real-doing-none-longrunning        深圳 - 2
result-real-doing-partial-longrunning     深圳 - 2, 深圳 fail 1
result-real-empty                         北京 success 1
result-real-exit3                         杭州 fail 1
result-real-fastfail-fail                 杭州 fail 1
result-real-fastfail-timeout              杭州 - 1
result-real-multiline-stderr              深圳 fail 1
result-real-proxydown                     guangzhou-01 - 1
result-real-proxydown2                    guangzhou-01 - 1, 杭州 fail 1
result-real-refused                       guangzhou-01 - 1
result-real-ssh-unknown-idc               nothing
result-real-stderr                        北京 success 1
result-real-timeout5                      北京 timeout 1
result-real-unicode                       杭州 success 1
result-real-urls                          深圳 success 4
result-real-weird-host-status             深圳 fail 1, 深圳 success 1
result-sql-UPPERCASE-DOING                guangzhou-01 - 1, 上海 - 1
result-sql-UPPERCASE-DONE-SUCCESS         guangzhou-01 success 1, 上海 success 1
result-sql-doing-future-start             guangzhou-01 - 1
result-sql-doing-no-host-rows             nothing
result-sql-doing-no-task                  nothing
result-sql-doing-null-host-cols           北京 - 2
result-sql-doing-partial                  北京 - 2, 杭州 fail 1, 杭州 success 1
result-sql-doing-zero-start-time          guangzhou-01 - 1
result-sql-done-cancel                    guangzhou-01 cancelled 1, 上海 cancelled 1, 北京 cancelled 1
result-sql-done-cancelled                 guangzhou-01 cancelled 1, 上海 cancelled 1, 北京 cancelled 1
result-sql-done-end-before-start          guangzhou-01 success 1
result-sql-done-fail-partial-5idc         guangzhou-01 success 2, 上海 fail 2, 北京 success 2, 杭州 success 2, 深圳 fail 1, 深圳 success 1
result-sql-done-mixed3                    guangzhou-01 timeout 2, 上海 success 1, 北京 fail 1, 杭州 fail 1, 深圳 success 1
result-sql-done-multi-ip-host             guangzhou-01 success 1
result-sql-done-no-host-rows              nothing
result-sql-done-null-result               guangzhou-01 success 1
result-sql-done-success-5idc              guangzhou-01 success 2, 上海 success 2, 北京 success 2, 杭州 success 2, 深圳 success 2
result-sql-done-success-host-open         guangzhou-01 - 1, 上海 success 1, 北京 success 1
result-sql-done-timeout                   guangzhou-01 timeout 1, 上海 timeout 1, 北京 timeout 1, 杭州 timeout 1
result-sql-done-unknown-status            guangzhou-01 unknown 1, 1 unknown
result-sql-exec-status-cancelled          guangzhou-01 cancelled 1, 上海 cancelled 1
result-sql-init                           nothing
result-sql-init-null-end-null-result      nothing
result-sql-non-uuid-id                    guangzhou-01 success 1
result-sql-old-2019                       guangzhou-01 success 1, 上海 success 1
result-sql-old-doing-2019                 guangzhou-01 - 1, 上海 - 1
result-sql-same-second-1                  深圳 success 1
result-sql-script-type-file-url           guangzhou-01 success 1
result-unknown-id                         nothing
tz-record-UTC                             done/success 2026-03-05T10:11:12Z +10540861 of -, 0 hosts, unknown unknown
"""  # noqa: E501  (names of IDCs count double)
ROWS = {
    name: value.strip() for name, _, value in (line.partition(" ") for line in EXPECTED.split("\n") if line)
}
RECORDINGS = recordings()
OUR_WORDS = re.compile(r"^the platform .*?: |(?<=HTTP ...):.*")
FILES = {path.stem for path in FOLDER.glob("*.http")}


@pytest.mark.parametrize("name", sorted(ROWS.keys() | RECORDINGS.keys() | FILES))
async def test_recorded_response(name: str) -> None:
    """A recorded response is read as the index and the description of the API say."""
    recording = RECORDINGS[name]
    api = JobApi(config(), transport=httpx.MockTransport(recording.response))
    try:
        told = _describe(await recording.ask(api), recording.query.get("id", ""))
    except RecordNotFound:
        told = "not found"
    except ApiError as error:
        told = f"{error.reason} {OUR_WORDS.sub('', error.message)}"
    finally:
        await api.aclose()
    assert told == ROWS[name]


def test_every_file_has_a_row_and_every_row_a_file() -> None:
    """The table, the index and the folder hold the same names, all of them."""
    assert ROWS.keys() == RECORDINGS.keys() == FILES
    assert len(FILES) == 169


def _describe(value: object, asked: str) -> str:
    if isinstance(value, Page):
        assert value.bad_items == 0
        starts = sorted(item.start for item in value.items if item.start is not None)
        told = f"{len(value.items)} of {value.total}"
        return told + (f", {len(starts)} timed, {_time(starts[0])} to {_time(starts[-1])}" if starts else "")
    if isinstance(value, Results):
        assert value.bad_rows == 0
        rows = Counter(f"{row.idc} {row.status or '-'}" for row in value.rows)
        unknown = sum(row.unknown_status for row in value.rows)
        told = ", ".join(f"{key} {count}" for key, count in sorted(rows.items())) or "nothing"
        return told + (f", {unknown} unknown" if unknown else "")
    assert isinstance(value, Record)
    assert value.id == asked
    assert value.expected_hosts is not None
    lasted = "-" if value.start is None or value.end is None else f"+{value.end - value.start:.0f}"
    limit = "10y" if value.timeout == 315_360_000 else f"{value.timeout:.0f}" if value.timeout else "-"
    told = f"{value.execute_status}/{value.result_status or '-'} {_time(value.start)} {lasted} of {limit}"
    told += f", {len(value.expected_hosts)} hosts, {value.provider} {value.script_type}"
    return told + "".join(f", unknown {field}" for field in value.unknown_fields)


def _time(moment: float | None) -> str:
    return "-" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
