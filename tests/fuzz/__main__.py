"""Feed many bodies to `exporter.jobapi.decoder`; findings go to `tests/fuzz/found`, and the exit status is 1.

With atheris (the group `fuzz` of pyproject.toml) bodies that reach new lines of ours are mutated further;
without it, or with --blind, each is made from a recorded one.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path

FOUND = Path(__file__).with_name("found")
LONGEST = 16_384  # bytes of a body that coverage guides; longer ones are slow, and reach nothing else
MEMORY = 1024  # MB that the guided process may hold


def main() -> int:
    """Fuzz, and print the result."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blind", action="store_true", help="without coverage, even if atheris is there")
    parser.add_argument("--guided", metavar="CORPUS", help=argparse.SUPPRESS)  # the child that libFuzzer runs
    given = parser.parse_args()
    if given.guided:
        _guided(given.inputs, given.seed, given.guided)
        return 0  # libFuzzer ends the process itself
    began = time.monotonic()
    if given.blind or importlib.util.find_spec("atheris") is None:
        way, done = "blind", _blind(given.inputs, given.seed)
    else:
        way, done = "guided by coverage", _watched(given.inputs, given.seed)
    sys.stdout.write(f"{done} inputs, {way}, in {time.monotonic() - began:.0f} s, no finding\n")
    return 0 if done >= given.inputs else 1


def _blind(inputs: int, seed: int) -> int:
    from tests.fuzz.examine import examine  # noqa: PLC0415  (a guided run instruments what it imports)
    from tests.fuzz.mutating import Mutator  # noqa: PLC0415

    mutator = Mutator(seed)
    for _ in range(inputs):
        body = mutator.make()
        try:
            examine(body)
        except Exception:
            name = _keep(body)
            sys.stderr.write(f"found: {name}\n")
            raise
    return inputs


def _keep(body: bytes) -> Path:
    FOUND.mkdir(exist_ok=True)
    name = FOUND / f"new-{len(body)}-{zlib.crc32(body):08x}"
    name.write_bytes(body)
    return name


def _watched(inputs: int, seed: int) -> int:
    """Run libFuzzer in a process of its own, which it ends as it likes; how many inputs it ran."""
    corpus = Path(".output/fuzz")
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"--inputs={inputs}", f"--seed={seed}", f"--guided={corpus}"]
    command = [sys.executable, "-m", "tests.fuzz", *options]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    done = re.search(r"Done (\d+) runs", ran.stderr)
    if ran.returncode or done is None:
        sys.exit(f"{ran.stderr[-5000:]}\nfuzzing ended with status {ran.returncode}; see {FOUND}")
    return int(done[1])


def _guided(inputs: int, seed: int, corpus: str) -> None:
    import atheris  # noqa: PLC0415  (an extra that not every platform has)

    ours = [f"exporter.jobapi.{name}" for name in ("decoder", "schema", "items", "fields", "json_filter")]
    with atheris.instrument_imports(include=ours):
        from tests.fuzz.examine import examine  # noqa: PLC0415
    from tests.fuzz.mutating import Mutator  # noqa: PLC0415
    from tests.jobapi.test_decoder_properties import BODIES  # noqa: PLC0415

    for number, body in enumerate(BODIES):
        Path(corpus, f"recorded-{number}").write_bytes(body[:LONGEST])
    mutator = Mutator(seed)

    def mutated(data: bytes, most: int, chance: int) -> bytes:
        """Half of the bodies are mutated by what JSON is, half by what libFuzzer learns."""
        return mutator.mutate(data)[:most] if chance % 2 else atheris.Mutate(data, most)

    FOUND.mkdir(exist_ok=True)
    options = [
        f"-runs={inputs}", f"-seed={seed}", f"-max_len={LONGEST}", f"-rss_limit_mb={MEMORY}", "-timeout=20",
        f"-artifact_prefix={FOUND}/new-", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, corpus], examine, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
