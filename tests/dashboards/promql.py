"""Just enough of PromQL's grammar to judge the dashboards' queries without a server.

It knows selectors, calls, aggregations and vector matching; operators and numbers are passed over.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

AGGREGATIONS = {"sum", "max", "min", "avg", "count", "group", "topk", "bottomk", "stddev", "quantile"}
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[A-Za-z_:][\w:]*|=~|!~|!=|==|>=|<=|[-+*/(){},=<>]|[\d.]+')


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function or aggregation around a selector."""

    name: str
    mode: str = ""  # "by", "without", or "" where there is no grouping
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Selector:
    """One selector of a query."""

    metric: str
    matchers: dict[str, tuple[str, str]]  # label → (operator, value)
    window: str | None  # what stands in brackets behind it
    calls: tuple[Call, ...]  # from the outermost to the innermost

    def labels(self, own: set[str]) -> set[str]:
        """Return what is left of the labels `own` when all calls are done."""
        left = set(own)
        for call in reversed(self.calls):
            if call.mode == "by":
                left &= set(call.labels)
            elif call.mode == "without":
                left -= set(call.labels)
            elif call.name == "histogram_quantile":
                left -= {"le"}
            elif call.name in AGGREGATIONS - {"topk", "bottomk"} or call.name == "scalar":
                left = set()
        return left


def selectors(expr: str) -> list[Selector]:
    """Return the selectors of a query; raises ValueError where a metric stands without matchers."""
    return list(_Scan(expr).run())


class _Scan:
    def __init__(self, expr: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(expr)
        self.at = 0
        self.stack: list[Call] = []

    def run(self) -> Iterator[Selector]:
        while self.at < len(self.tokens):
            token = self.take()
            if token == "(":
                self.stack.append(Call(name=""))
            elif token == ")":
                self.stack.pop()
            elif re.match(r"[A-Za-z_:]", token):
                yield from self.word(token)
        if self.stack:
            raise ValueError(f"{len(self.stack)} parentheses are not closed")

    def word(self, token: str) -> Iterator[Selector]:
        following = self.peek()
        if following == "{":
            yield self.selector(token)
        elif token in {"on", "ignoring", "group_left", "group_right"}:
            self.names()
        elif token in AGGREGATIONS:
            mode = self.take() if following in {"by", "without"} else ""
            labels = self.names() if mode else ()
            self.expect("(")
            self.stack.append(Call(name=token, mode=mode, labels=labels))
        elif following == "(" and token not in {"and", "or", "unless"}:
            self.expect("(")
            self.stack.append(Call(name=token))
        elif token not in {"and", "or", "unless"}:
            raise ValueError(f"{token} has no matchers")

    def selector(self, metric: str) -> Selector:
        matchers = {}
        self.expect("{")
        while (label := self.take()) != "}":
            if label != ",":
                matchers[label] = (self.take(), self.take().strip('"'))
        window = self.take().strip("[]") if self.peek().startswith("[") else None
        return Selector(metric=metric, matchers=matchers, window=window, calls=tuple(self.stack))

    def names(self) -> tuple[str, ...]:
        self.expect("(")
        found = []
        while (token := self.take()) != ")":
            if token != ",":
                found.append(token)
        return tuple(found)

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, token: str) -> None:
        taken = self.take()
        if taken != token:
            raise ValueError(f"{token} wanted, {taken} found")
