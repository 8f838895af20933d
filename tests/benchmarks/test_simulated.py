"""The benchmarks measure a daemon that counts: a figure of one that waits for ever would be worth nothing."""

from exporter.simulator.scenarios import Scenario
from tests.benchmarks.simulated import make_platform, simulate


def test_the_simulated_daemon_counts_all_that_finishes() -> None:
    """Each record that arrives is counted, in the time of the simulation."""
    platform = make_platform((Scenario(rate=1.0, hosts=(1, 1), run=3.0),))
    daemon = simulate(platform, seconds=120.0, drain=True)
    assert len(platform.world) > 60
    assert len(daemon.ledger.counted) == len(platform.world)
