"""What a request costs the platform, in seconds of its time.

The figures were measured on a real platform with 300,000 records of one host, oldest first: page 1 of one
record 24 ms, an early page of twenty 34 ms, the last page of one record 0.8 s, the last of twenty 1.5 s,
beyond the end 0.67 s, a look-up by id 1.5 ms. Between them the cost is taken to be linear, in the place of
the page among the records and in its size.
"""

LOOK = 0.0015  # a record or its results, by id
FIRST = 0.024  # page 1 of one record
FIRST_MORE = (0.034 - FIRST) / 19  # each further record of an early page
LAST = 0.8  # the last page of one record
LAST_MORE = (1.5 - LAST) / 19  # each further record of the last page


def page_seconds(number: int, size: int, total: int) -> float:
    """The cost of a page of `size` records; `total` records are taken to be as heavy as 300,000."""
    place = min(1.0, max(0, number - 1) * size / max(1, total))
    more = FIRST_MORE + place * (LAST_MORE - FIRST_MORE)
    return FIRST + place * (LAST - FIRST) + (size - 1) * more
