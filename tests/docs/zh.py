"""Texts of the code in Chinese, for the tables of README.zh-CN.md; one that changes is translated anew."""

from collections.abc import Mapping

_HEADS: Mapping[str, str] = {
    "Setting": "设置项",
    "Variable": "环境变量",
    "Default": "默认值",
    "Meaning": "含义",
    "Metric": "指标",
    "Type": "类型",
    "Labels": "标签",
    "Alert": "告警",
    "Severity": "级别",
    "Says": "说明",
}

_SETTINGS: Mapping[str, str] = {
    "YAML file with settings that neither a flag nor a variable gives.": (
        "YAML 配置文件；命令行参数和环境变量都没有给出的设置项取自这里。"
    ),
    "Address of the job platform, before /api/v1, such as http://jobs.example:6868; required.": (
        "作业平台的地址，即 /api/v1 之前的部分，例如 http://jobs.example:6868；必填。"
    ),
    "User for HTTP basic authentication.": "HTTP Basic 认证的用户名。",
    "Password of that user; other processes can see it in a flag: rather use a file.": (
        "该用户的密码；写在命令行里会被其他进程看到，建议改用文件。"
    ),
    "File with the password of that user, read again when it changes.": (
        "存放该用户密码的文件，内容变化后自动重新读取。"
    ),
    "File with a bearer token, read again when it changes.": (
        "存放 Bearer 令牌的文件，内容变化后自动重新读取。"
    ),
    "Further headers of each request, one a line.": "每个请求附加的 HTTP 头，一行一个。",
    "Certificates (PEM) that the platform's own is verified by, instead of the system's.": (
        "校验平台证书所用的 CA 证书（PEM），代替系统自带的证书。"
    ),
    "Client certificate (PEM) to show to the platform.": "向平台出示的客户端证书（PEM）。",
    "Private key (PEM) of the client certificate.": "客户端证书的私钥（PEM）。",
    "Proxy for the way to the platform, such as http://proxy.example:3128; proxies of the environment are "
    "not used.": "访问平台所用的代理，例如 http://proxy.example:3128；不使用环境变量中的代理。",
    "Time to connect, to wait for an answer to begin, and to wait for more of it; the first byte of a page "
    "may take six times as long, up to a minute.": (
        "建立连接、等待响应开始以及等待后续数据的时限；分页的首字节可以等待六倍的时间，最长一分钟。"
    ),
    "Requests under way at once, 1 to 64.": "同时进行的请求数，1 到 64。",
    "Share of the wall time that requests of tail pages may take, above 0 to 1.": (
        "读取尾部分页的请求最多可占用的时间比例，大于 0，不超过 1。"
    ),
    "Most records to ask for in one page, 1 to 500.": "一页最多请求多少条记录，1 到 500。",
    "Most bytes that are held of one response; outputs in it are skipped and do not count.": (
        "单个响应最多在内存中保留的字节数；其中的输出会被跳过，不计入。"
    ),
    "Time zone of the platform's times that name none: an IANA name, or an offset such as +08:00.": (
        "平台给出的时间不带时区时按此时区解释：IANA 时区名，或 +08:00 这样的偏移量。"
    ),
    "Further tries of a request whose failure may pass, 0 to 10.": (
        "请求遇到可能自行恢复的失败时再试几次，0 到 10。"
    ),
    "Time from the start of one poll to that of the next, at least 1s.": (
        "相邻两次轮询开始时刻的间隔，至少 1s。"
    ),
    "Age of records up to which a slow sweep reads all pages again and again, to find what was missed; 0 "
    "turns it off.": "缓慢的巡查反复读取多久以内的记录所在的全部分页，以找出遗漏的记录；0 表示关闭。",
    "Time after which the newest records are read again though their number did not grow.": (
        "记录总数没有增长时，隔多久重新读取一次最新的记录。"
    ),
    "Newest records that a first start searches for open ones, 0 to 10000.": (
        "首次启动时，在最新的多少条记录中寻找未结束的记录，0 到 10000。"
    ),
    "Finished records that a first start counts: none, all, or those of a duration.": (
        "首次启动时把哪些已结束的记录计入：none（不计）、all（全部），或最近一段时间内的。"
    ),
    "Time that a finished record waits for hosts that have not reported.": (
        "记录结束后，等待尚未上报结果的主机的时间。"
    ),
    "Time past its own timeout after which an open record is overdue.": (
        "未结束的记录超过自身超时时间之后，再过多久算作逾期。"
    ),
    "Address of the ledger, for SQLite or PostgreSQL.": "账本的地址，SQLite 或 PostgreSQL。",
    "Time that ids of settled records are kept, at least; older ones are pruned.": (
        "已结算记录的 id 至少保留多久；更早的会被清理。"
    ),
    "Time that a new series shows 0 before its value, so that increase() sees its birth.": (
        "新序列先显示 0 多久再显示实际值，使 increase() 能看到它的诞生。"
    ),
    "Values of one label before further ones fold into 'other', 1 to 100000.": (
        "一个标签最多有多少个取值，超出的归入 other，1 到 100000。"
    ),
    "Labels of job_records_finished_total beside the result.": (
        "job_records_finished_total 除结果之外的标签。"
    ),
    "Upper bounds of job_record_duration_seconds in ascending order, as durations or seconds.": (
        "job_record_duration_seconds 各桶的上界，升序，写成时长或秒数。"
    ),
    "Address to serve on; without a host, on all interfaces.": "监听地址；不写主机则监听所有网卡。",
    "Web configuration in the format of Prometheus' exporter-toolkit: TLS, client certificates, users.": (
        "Web 配置文件，采用 Prometheus exporter-toolkit 的格式：TLS、客户端证书、用户。"
    ),
    "Path of the metrics.": "指标的路径。",
    "Link to a record on the platform's own pages, with {id} for its id; http or https; none if empty.": (
        "平台自身页面上某条记录的链接，用 {id} 表示记录 id；http 或 https；留空则没有链接。"
    ),
    "Least severity of the lines that are logged.": "日志的最低级别。",
    "Form of a log line.": "日志行的格式。",
}

_METRICS: Mapping[str, str] = {
    "Records on the platform now, by where they are on their way.": "平台上现有的记录数，按所处阶段分。",
    "Records that were seen for the first time.": "首次见到的记录数。",
    "Records that finished, each counted once, by how they ended.": (
        "已结束的记录数，每条只计一次，按结束的结果分。"
    ),
    "Seconds from the start to the end of a finished record.": "已结束的记录从开始到结束的秒数。",
    "Number of hosts of a finished record.": "已结束的记录的主机数。",
    "Hosts of finished records, by their IDC and how they ended.": (
        "已结束的记录的主机数，按所在 IDC 和执行结果分。"
    ),
    "Finished records that touched the IDC: clean if all of its hosts succeeded, degraded if some, failed if "
    "none did.": (
        "涉及该 IDC 的已结束记录数：其主机全部成功为 clean，部分成功为 degraded，无一成功为 failed。"
    ),
    "Open records past their own timeout and the grace after it.": (
        "超过自身超时时间及宽限期仍未结束的记录数。"
    ),
    "Start of the oldest open record, in seconds since the Unix epoch.": (
        "最早的未结束记录的开始时间，Unix 时间戳（秒）。"
    ),
    "End of the record that finished last, in seconds since the Unix epoch.": (
        "最近结束的记录的结束时间，Unix 时间戳（秒）。"
    ),
    "Always 1; the labels tell the versions of exporter and Python.": (
        "恒为 1；标签给出 exporter 和 Python 的版本。"
    ),
    "1 if the last poll reached the job API and understood it, else 0.": (
        "最近一次轮询能访问作业 API 且能理解其响应时为 1，否则为 0。"
    ),
    "When the last successful poll ended, in seconds since the Unix epoch; 0 before the first.": (
        "最近一次成功轮询的结束时间，Unix 时间戳（秒）；首次成功之前为 0。"
    ),
    "Seconds that the last poll took.": "最近一次轮询耗时的秒数。",
    "Polls of the platform, failed ones included.": "轮询平台的次数，含失败的。",
    "Polls that failed.": "失败的轮询次数。",
    "Requests to the job API, failed ones included.": "对作业 API 的请求数，含失败的。",
    "Bytes of response bodies read from the job API.": "从作业 API 读取的响应体字节数。",
    "Requests to the job API that failed, by why.": "对作业 API 的失败请求数，按原因分。",
    "Seconds from sending a request to the job API to the end of its answer.": (
        "从向作业 API 发出请求到收完响应的秒数。"
    ),
    "Records that the platform counts and no page shows, because they have no host rows.": (
        "平台计入总数、但因没有主机行而不出现在任何分页里的记录数。"
    ),
    "Records and positions of pages that cannot be read now; they are tried again.": (
        "目前读不到的记录和分页位置数；会再次尝试。"
    ),
    "Records that only the sweep found.": "只有巡查才发现的记录数。",
    "When the last whole sweep ended, in seconds since the Unix epoch; 0 before the first.": (
        "最近一次完整巡查结束的时间，Unix 纪元以来的秒数；第一次之前为 0。"
    ),
    "Finished records whose hosts are not settled yet.": "已结束、但主机结果尚未结算的记录数。",
    "1 while records that finished during a downtime are counted, else 0.": (
        "正在补计停机期间结束的记录时为 1，否则为 0。"
    ),
    "Seconds from the end of a record to its being counted.": "从记录结束到被计入的秒数。",
    "Records counted without all of their hosts or times, or not counted at all, by reason.": (
        "计入时缺少部分主机或时间、或者未能计入的记录数，按原因分。"
    ),
    "Values from the platform that are none of the documented ones, by field.": (
        "平台给出的、不在文档所列范围内的取值数，按字段分。"
    ),
    "Increments that were folded into the label value other, by label.": (
        "被归入标签值 other 的增量次数，按标签分。"
    ),
    "Clock of the platform minus clock of the exporter, in seconds.": (
        "平台时钟减去 exporter 时钟，单位秒。"
    ),
    "Records that the ledger holds.": "账本中的记录数。",
    "1 on the replica that polls, else 0.": "负责轮询的副本上为 1，否则为 0。",
}

_ALERTS: Mapping[str, str] = {
    "No job-exporter can be scraped.": "没有任何 job-exporter 能被抓取。",
    "A replica of job-exporter is down.": "job-exporter 的一个副本不可用。",
    "The job platform does not answer, or not in a way that is understood.": (
        "作业平台没有响应，或响应无法理解。"
    ),
    "The job platform refuses the exporter's credentials.": "作业平台拒绝了 exporter 的凭据。",
    "The last good poll of the job platform is too long ago.": "距上一次成功轮询作业平台已经太久。",
    "No replica of job-exporter polls the platform.": "没有任何 job-exporter 副本在轮询平台。",
    "Several exporters of one job say that they poll the platform.": (
        "同一个 job 下有多个 exporter 都声称在轮询平台。"
    ),
    "Finished records are counted late.": "已结束的记录计入得太晚。",
    "Finished records wait for their host results and are not counted.": (
        "已结束的记录在等待主机结果，尚未计入。"
    ),
    "Many records are counted without all of their hosts or times.": "许多记录在计入时缺少部分主机或时间。",
    "The job platform sends values that the exporter does not know.": (
        "作业平台给出了 exporter 不认识的取值。"
    ),
    "A label has more values than allowed.": "某个标签的取值超过了上限。",
    "The exporter counts what finished while it was away.": "exporter 正在补计停机期间结束的记录。",
    "Most records fail.": "大多数记录失败。",
    "Many records fail, for hours.": "数小时以来有许多记录失败。",
    "More records fail than the objective allows, for days.": "数天以来失败的记录超过目标所允许的比例。",
    "Many more records time out than usual.": "超时的记录远多于平时。",
    "Hosts in an IDC fail while other IDCs are well.": "某个 IDC 的主机失败，而其他 IDC 正常。",
    "Nothing succeeds in an IDC.": "某个 IDC 没有任何主机成功。",
    "Hosts fail in most IDCs at once.": "大多数 IDC 的主机同时失败。",
    "Records run past their own timeout.": "有记录超过自身的超时时间仍在运行。",
    "A record waits too long to be taken up.": "有记录等待过久，一直没有被接手执行。",
    "Some records of the job platform can't be read.": "作业平台的一些记录无法读取。",
    "The exporter has not caught up with the job platform for an hour.": "exporter 落后于平台已有一小时。",
    "No sweep has ended for too long.": "已有过长时间没有一次完整的扫查结束。",
    "The job platform accepts records and shows them nowhere.": "平台接受了记录，却没有任何页面显示它们。",
    "Records are started, none finishes.": "不断有记录开始，却没有一条结束。",
}

TRANSLATIONS: Mapping[str, str] = {**_HEADS, **_SETTINGS, **_METRICS, **_ALERTS}


def translated(text: str) -> str:
    """Give the text in Chinese. Raises LookupError: it is new, or was changed in the code."""
    try:
        return TRANSLATIONS[text]
    except KeyError:
        raise LookupError(f"tests/docs/zh.py has no translation of {text!r}") from None
