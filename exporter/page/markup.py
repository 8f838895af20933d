"""HTML that is safe because of how it is made: whatever is not `Markup` already is escaped. PURE."""

from html import escape

_VOID = frozenset({"meta"})  # the elements used here that have no content and no end


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | int | None  # None: nothing


def text(value: str | int) -> Markup:
    """Escape `value`; what cannot be seen, or would turn the direction of writing, is shown as U+FFFD."""
    return value if isinstance(value, Markup) else Markup(escape(visible(str(value))))


def visible(value: str) -> str:
    """Replace each character that has no look of its own: controls, bidirectional marks, surrogates."""
    if value.isascii() and value.isprintable():
        return value
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in value
    )


def join(*children: Child) -> Markup:
    """Put pieces one after the other."""
    return Markup("".join(text(child) for child in children if child is not None))


def el(tag: str, *children: Child, **attributes: Child) -> Markup:
    """Make an element; `class_` is class, `aria_label` is aria-label; an attribute of None is left out."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{text(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{join(*children)}</{tag}>")
