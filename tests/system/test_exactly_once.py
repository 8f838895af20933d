"""What makes counting exactly-once, one named test each; `test_machine.py` tries it all together."""

from pathlib import Path

import pytest

from exporter.polling.poller import PollConfig
from exporter.simulator.record import RecordSpec
from exporter.simulator.world import World
from tests.harness.inprocess import RULES, Blow, Clock, Daemon, WorldApi
from tests.system.test_machine import HOSTS


def finished(world: World, clock: Clock, count: int) -> None:
    """Begin records and end them at once."""
    for _ in range(count):
        record = world.add(RecordSpec(hosts=HOSTS[:2]), clock.now)
        world.finish(record, "success", clock.now)


def daemon(folder: Path, config: PollConfig | None = None) -> tuple[World, Clock, Daemon]:
    """An exporter that has seen an empty platform."""
    world, clock = World(), Clock()
    started = Daemon(WorldApi(world), folder, clock, config=config)
    started.poll()
    clock.now += 2
    return world, clock, started


@pytest.mark.parametrize("blow", [Blow.REFUSED, Blow.UNDONE])
def test_a_page_whose_commit_failed_is_read_again(blow: Blow, tmp_path: Path) -> None:
    """The poller goes on from what was committed; no re-check and no sweep has to find the record."""
    world, clock, exporter = daemon(tmp_path, PollConfig(rules=RULES, sweep=0.0, recheck_interval=86400.0))
    finished(world, clock, 5)
    exporter.poll(times=6)
    finished(world, clock, 1)
    exporter.poll(blow=blow)
    exporter.poll(times=3)
    assert exporter.value("job_records_finished_total") == 6
    exporter.close()


@pytest.mark.parametrize("blow_in", range(4))
@pytest.mark.parametrize("blow", list(Blow))
def test_a_blow_at_any_commit_loses_and_doubles_nothing(blow: Blow, blow_in: int, tmp_path: Path) -> None:
    """Death before, in or after any commit, or a full disk at it: all count once afterwards."""
    world, clock, exporter = daemon(tmp_path)
    finished(world, clock, 70)  # two pages, so that a poll has several commits
    exporter.poll(blow=blow, blow_in=blow_in)
    exporter.poll(times=6)
    assert exporter.value("job_records_finished_total") == 70
    assert exporter.value("job_records_discovered_total") == 70
    assert exporter.value("job_host_results_total") == 140
    exporter.close()


def test_a_new_process_knows_what_was_counted(tmp_path: Path) -> None:
    """After a restart the re-check reads records that were counted, and leaves them alone."""
    world, clock, exporter = daemon(tmp_path)
    finished(world, clock, 5)
    exporter.poll(times=2)
    exporter.restart()
    clock.now += 600  # a re-check is due
    exporter.poll(times=3)
    assert exporter.value("job_records_finished_total") == 5
    assert exporter.value("job_records_discovered_total") == 5
    exporter.close()


def test_an_open_record_is_followed_however_long_it_runs(tmp_path: Path) -> None:
    """A record that runs for an hour, far from the tail by then, is counted when it ends."""
    world, clock, exporter = daemon(tmp_path)
    long_runner = world.add(RecordSpec(hosts=HOSTS[:1], timeout=7200), clock.now)
    exporter.poll()
    for _ in range(4):
        finished(world, clock, 60)
        exporter.poll(times=60)
    world.finish(long_runner, "fail", clock.now)
    exporter.poll(times=6)
    assert exporter.value("job_records_finished_total", result_status="fail") == 1
    assert exporter.value("job_records_finished_total") == 241
    exporter.close()
