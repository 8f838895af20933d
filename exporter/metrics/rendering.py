"""How series become bytes, kept in tiers so that a change spoils only its own part of each.

A *group* (the lines of one label set) keeps their text, a *block* of neighbouring groups their bytes, plain
and compressed. A *section* is a family: its groups in order, in blocks.
"""

import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice, repeat
from math import isfinite
from operator import attrgetter

from exporter.metrics.families import Family, MetricType, bucket_part, number
from exporter.model import Exemplar, Sample, Series

# Neighbouring groups that are joined and compressed together: about 20 KB of text. Smaller ones compress
# worse (each starts with an empty dictionary), larger ones make one changed value cost more.
BLOCK_GROUPS = 256
# Level 6 would win a tenth of the size for twice the time on the event loop.
GZIP_LEVEL = 1
# The limit of OpenMetrics for names and values of an exemplar's labels, in characters.
EXEMPLAR_LIMIT = 128
# A lone surrogate has no encoding, and Prometheus' scanner takes NUL for the end of the page.
_UNSHOWABLE = re.compile("[\0\ud800-\udfff]")

Labels = tuple[tuple[str, str], ...]  # (name, value), in the order of the names


class Group:
    """One label set of a family: its samples, and the lines that show them."""

    __slots__ = (
        "_block",
        "_lines",
        "_parts",
        "_prefixes",
        "family",
        "held",
        "held_until",
        "labels",
        "samples",
    )

    def __init__(self, family: Family, labels: Labels) -> None:
        self.family = family
        self.labels = labels
        self.samples: list[Sample] = []
        self.held_until = 0.0  # ledger time; its lines are released together
        self.held = family.type is not MetricType.GAUGE
        self._parts: list[str] = []
        self._block: Block | None = None
        self._lines: tuple[str, str] | None = None
        self._prefixes = tuple(_prefixes(family, labels))

    def add(self, part: str, sample: Sample) -> None:
        """Take one more sample."""
        self._parts.append(part)
        self.samples.append(sample)
        self.touch()

    def replace(self, number: int, sample: Sample) -> None:
        """Take `sample` instead of the one that was added as `number` (from 0)."""
        self.samples[number] = sample
        self.touch()

    def clear(self) -> None:
        """Be without samples; what was shown once is still known to have been."""
        self._parts, self.samples = [], []
        self.touch()

    def hold(self) -> bool:
        """Note until when the group is held, once the first samples are there; whether it is held at all."""
        self.held_until = min(sample.held_until for sample in self.samples)
        self.held = self.held and self.held_until > 0
        return self.held

    def release(self) -> None:
        """Show the values from now on, for ever."""
        self.held = False
        self.touch()

    def place(self, block: "Block") -> None:
        """Stand in `block` from now on."""
        self._block = block

    def touch(self) -> None:
        """Forget what was rendered."""
        self._lines = None
        if self._block is not None:
            self._block.touch()

    def lines(self, openmetrics: bool) -> str:
        """Give the lines in one of the two formats, which differ in exemplars only."""
        if self._lines is None:
            values, exemplars = self._exposed()
            text = [
                prefix + number(value) + "\n" for prefix, value in zip(self._prefixes, values, strict=True)
            ]
            plain = "".join(text)
            for index, exemplar in exemplars.items():
                text[index] = f"{text[index][:-1]}{_exemplar(exemplar)}\n"
            self._lines = (plain, "".join(text) if exemplars else plain)
        return self._lines[openmetrics]

    def _exposed(self) -> tuple[Sequence[float], Mapping[int, Exemplar]]:
        """Give a value for each prefix, and the exemplars by the number of their prefix."""
        if self.held and self.family.type is MetricType.HISTOGRAM:
            return [0.0] * len(self._prefixes), {}
        if self.held:
            return [sum([sample.held_at for sample in self.samples])], {}
        if self.family.type is MetricType.HISTOGRAM:
            return self._histogram()
        exemplar = self.samples[0].exemplar
        return [sum([sample.value for sample in self.samples])], {} if exemplar is None else {0: exemplar}

    def _histogram(self) -> tuple[Sequence[float], Mapping[int, Exemplar]]:
        bounds = self.family.buckets
        buckets = [0.0] * (len(bounds) + 1)
        total = 0.0
        exemplars = {}
        for part, sample in zip(self._parts, self.samples, strict=True):
            if part == "sum":
                total += sample.value
                continue
            index = bisect_left(bounds, float(part))
            buckets[index] += sample.value
            if sample.exemplar is not None:
                exemplars[index] = sample.exemplar
        cumulated = list(accumulate(buckets))
        return [*cumulated, cumulated[-1], total], exemplars


class Block:
    """Neighbouring groups of one family, joined; the first block of a family brings its head."""

    __slots__ = ("_deflated", "_heads", "_plain", "groups")

    def __init__(self, heads: tuple[str, str], groups: Sequence[Group]) -> None:
        self._heads = heads
        self.groups = groups
        self.touch()
        for group in groups:
            group.place(self)

    def touch(self) -> None:
        """Forget what was rendered."""
        self._plain: list[bytes | None] = [None, None]
        self._deflated: list[bytes | None] = [None, None]

    def plain(self, openmetrics: bool) -> bytes:
        """Give the bytes of the block."""
        plain = self._plain[openmetrics]
        if plain is None:
            lines = (group.lines(openmetrics) for group in self.groups)
            plain = self._plain[openmetrics] = "".join((self._heads[openmetrics], *lines)).encode()
        return plain

    def deflated(self, openmetrics: bool) -> bytes:
        """Give the block as a piece of a deflate stream that stands for itself."""
        deflated = self._deflated[openmetrics]
        if deflated is None:
            stream = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            pieces = stream.compress(self.plain(openmetrics)), stream.flush(zlib.Z_FULL_FLUSH)
            deflated = self._deflated[openmetrics] = b"".join(pieces)
        return deflated


END = Block(("", "# EOF\n"), ())  # of an exposition


class Section:
    """One family: its groups, sorted by their labels, in blocks."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.blocks: list[Block] = []
        self._groups: dict[Labels, Group] = {}

    @property
    def head(self) -> str:
        """HELP and TYPE in OpenMetrics."""
        return _heads(self.family)[1]

    def group(self, series: Series) -> Group:
        """Give the group that shows `series`; label sets that look the same once shown share one.

        Raises ValueError if it is a part of a histogram that is neither "sum" nor a number.
        """
        if self.family.type is MetricType.HISTOGRAM and series.part != "sum":
            float(series.part)
        labels = tuple(sorted((name, showable(value)) for name, value in series.labels))
        group = self._groups.get(labels)
        if group is None:
            group = self._groups[labels] = Group(self.family, labels)
        return group

    def come(self, groups: Sequence[Group]) -> None:
        """Show groups that were not shown until now; the blocks that they do not come into stay."""
        if not self.blocks or len(groups) > BLOCK_GROUPS:
            self.arrange()
            return
        for group in groups:
            self._insert(group)

    def arrange(self) -> None:
        """Show the groups that have samples, and no others; blocks before the first difference stay."""
        ordered = [group for block in self.blocks for group in block.groups]
        shown = {labels: group for labels, group in self._groups.items() if group.samples}
        stay = [group for group in ordered if group.samples]
        if len(shown) == len(stay) == len(ordered):
            return
        come = shown.keys() - {group.labels for group in stay}
        self._groups = shown
        ordered = sorted([*stay, *(shown[labels] for labels in come)], key=attrgetter("labels"))
        pieces = [ordered[i : i + BLOCK_GROUPS] for i in range(0, len(ordered), BLOCK_GROUPS)]
        self.blocks = [
            old if old is not None and old.groups == piece else Block(head, piece)
            for old, head, piece in zip(chain(self.blocks, repeat(None)), self._heads(), pieces, strict=False)
        ]

    def _insert(self, group: Group) -> None:
        """Put one more group into its block, which becomes two where it is twice as large as others."""
        later = bisect_right(self.blocks, group.labels, key=lambda block: block.groups[0].labels)
        index = max(0, later - 1)
        groups = sorted([*self.blocks[index].groups, group], key=attrgetter("labels"))
        half = len(groups) // 2 if len(groups) > 2 * BLOCK_GROUPS else len(groups)
        heads = islice(self._heads(), index, None)
        pieces = [piece for piece in (groups[:half], groups[half:]) if piece]
        self.blocks[index : index + 1] = map(Block, heads, pieces)

    def _heads(self) -> Iterator[tuple[str, str]]:
        """What stands at the head of each block."""
        return chain([_heads(self.family)], repeat(("", "")))


def showable(value: str) -> str:
    """Give a label value with what no format can hold replaced."""
    return _UNSHOWABLE.sub("\ufffd", value)


def _heads(family: Family) -> tuple[str, str]:
    """Give HELP and TYPE for text and for OpenMetrics, where a counter's family has no suffix."""
    bare = family.name.removesuffix("_total") if family.type is MetricType.COUNTER else family.name
    text, openmetrics = (
        f"# HELP {name} {family.help}\n# TYPE {name} {family.type}\n" for name in (family.name, bare)
    )
    return text, openmetrics


def _prefixes(family: Family, labels: Labels) -> Iterator[str]:
    """Give the part of each line before its value: for a histogram the buckets, the count, the sum."""
    if family.type is not MetricType.HISTOGRAM:
        yield f"{family.name}{_braces(labels)} "
        return
    for bound in (*family.buckets, float("inf")):
        le = ("le", bucket_part(bound, family.buckets))
        yield f"{family.name}_bucket{_braces(sorted((*labels, le)))} "
    yield f"{family.name}_count{_braces(labels)} "
    yield f"{family.name}_sum{_braces(labels)} "


def _braces(labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_escape(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _exemplar(exemplar: Exemplar) -> str:
    """Give the end of a line that names the record behind it; "" where that would be malformed."""
    record = showable(exemplar.record_id)
    if len("record_id") + len(record) > EXEMPLAR_LIMIT or not isfinite(exemplar.timestamp):
        return ""
    label = f'{{record_id="{_escape(record)}"}}'
    return f" # {label} {number(exemplar.value)} {float(exemplar.timestamp)!r}"
