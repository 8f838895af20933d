"""A simulated platform whose pictures show something: one IDC is sick now and in spells before.

usage: python -m tests.look.platform PORT SECONDS_OF_HISTORY IDCS
"""

import asyncio
import sys
import time
from dataclasses import replace
from typing import cast

from exporter.simulator import scenarios
from exporter.simulator.config import SimulatorConfig
from exporter.simulator.scenarios import Scenario, Sickness
from exporter.simulator.server import run

IDCS = {
    "杭州": 400,
    "北京": 300,
    "深圳": 200,
    "guangzhou-01": 150,
    "shanghai-02": 100,
    "chengdu-01": 80,
    "xian-01": 60,
    "hongkong-01": 40,
}
SICK = "深圳"
SPELL_BEGAN, SPELL_LASTS = 900, 2400  # seconds
SEED = 7
SHOWN = Scenario(
    rate=0.6,
    idcs=IDCS,
    huge=0.001,
    host_fail=0.004,
    cancel=0.01,
    silent=0.015,
    endless=0.0,
    traps=0.05,
    timeout=120,
    run=12.0,
)


def sickness(now: float) -> Sickness:
    """Return spells about two hours apart, of which the last began a quarter of an hour before `now`."""
    every = next(seconds for seconds in range(6000, 9000) if SPELL_BEGAN <= now % seconds < SPELL_BEGAN + 60)
    return Sickness(hosts=0.7, silent=0.15, every=every, lasts=SPELL_LASTS, idc=SICK)


def main(arguments: list[str]) -> None:
    """Serve the platform until it is stopped."""
    port, history, idcs = map(int, arguments)
    more = [(f"idc-{number:02}", 50) for number in range(len(IDCS) + 1, idcs + 1)]
    places = dict([*IDCS.items(), *more][:idcs])
    shown = replace(SHOWN, idcs=places, sickness=sickness(time.time()))
    cast("dict[str, Scenario]", scenarios.SCENARIOS)["look"] = shown
    config = SimulatorConfig(host="127.0.0.1", port=port, scenario="look", history=history, seed=SEED)
    asyncio.run(run(config, ready=lambda _: None))


if __name__ == "__main__":
    main(sys.argv[1:])
