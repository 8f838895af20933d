"""Where CPU time goes: samples of all threads, each weighed by the CPU its thread used since the last."""

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

INTERVAL = 0.001  # seconds between two samples
OURS = str(Path(__file__).parents[2] / "exporter")


class Profile:
    """CPU seconds by the innermost frame of ours, and the library that it called into."""

    def __init__(self) -> None:
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._used: dict[int, float] = {}

    def lines(self, title: str, *, top: int) -> list[str]:
        """The `top` places that took most, as text."""
        total = sum(self.seconds.values()) or 1.0
        places: defaultdict[str, float] = defaultdict(float)
        for (ours, _), seconds in self.seconds.items():
            places[ours] += seconds
        return [
            f"{title}, {seconds / total:.0%} of CPU: {ours} ({self._libraries(ours, seconds)})"
            for ours, seconds in sorted(places.items(), key=lambda item: -item[1])[:top]
        ]

    def _libraries(self, ours: str, total: float) -> str:
        within = {library: used for (name, library), used in self.seconds.items() if name == ours}
        shares = sorted(within.items(), key=lambda item: -item[1])[:3]
        return ", ".join(f"{library} {used / total:.0%}" for library, used in shares)

    def take(self) -> None:
        """Take a sample of every thread but this one."""
        for thread, frame in sys._current_frames().items():
            if thread == threading.get_ident():
                continue
            used = time.clock_gettime(time.pthread_getcpuclockid(thread))
            spent = used - self._used.get(thread, used)
            self._used[thread] = used
            if spent > 0:
                self.seconds[_place(frame)] += spent


@contextmanager
def profiled(profile: Profile) -> Iterator[None]:
    """Profile the block."""
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(INTERVAL):
            profile.take()

    before = sys.getswitchinterval()
    sys.setswitchinterval(INTERVAL / 2)  # else a busy thread is met only each 5 ms
    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield
    finally:
        ended.set()
        sampler.join()
        sys.setswitchinterval(before)


def _place(frame: FrameType) -> tuple[str, str]:
    library = _library(frame.f_code.co_filename)
    walk: FrameType | None = frame
    while walk is not None:
        name = walk.f_code.co_filename
        if name.startswith(OURS):
            return f"{Path(name).stem}.{walk.f_code.co_qualname}", library
        walk = walk.f_back
    return "event loop", library


def _library(filename: str) -> str:
    parts = Path(filename).parts
    if filename.startswith(OURS):
        return "itself"
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1].removesuffix(".py")
    return "asyncio" if "asyncio" in parts else "the standard library"
