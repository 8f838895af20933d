"""The machines that the simulated platform runs jobs on."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

OS_TYPES = ("linux", "linux", "linux", "windows", "")  # a real platform leaves some empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine; `idc` is the name of its data centre, as the platform spells it."""

    id: str
    ip: str
    entity_id: str
    idc: str
    os_type: str = "linux"


def make_id(rng: random.Random) -> str:
    """Draw a UUID-shaped id."""
    return str(UUID(int=rng.getrandbits(128)))


def make_fleet(sizes: Mapping[str, int], *, seed: int = 0) -> dict[str, tuple[Host, ...]]:
    """Make `sizes[idc]` hosts for each IDC; the same seed gives the same hosts."""
    rng = random.Random(f"fleet-{seed}")
    return {
        idc: tuple(
            Host(
                id=make_id(rng),
                ip=f"10.{row}.{number // 250}.{number % 250 + 1}",
                entity_id=make_id(rng).upper(),
                idc=idc,
                os_type=rng.choice(OS_TYPES),
            )
            for number in range(size)
        )
        for row, (idc, size) in enumerate(sizes.items(), start=1)
    }
