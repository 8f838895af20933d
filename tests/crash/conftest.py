"""Platforms for the program under test."""

from collections.abc import AsyncIterator

import pytest

from exporter.simulator.config import SimulatorConfig
from exporter.simulator.server import RunningSimulator, serve


@pytest.fixture
async def still() -> AsyncIterator[RunningSimulator]:
    """A platform with thirty finished records, on which nothing happens by itself."""
    async with await serve(SimulatorConfig(port=0, traffic=False, history=30)) as platform:
        yield platform
