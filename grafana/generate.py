"""Write the JSON of the dashboards: `python -m grafana.generate`; `--check` tells whether it is current."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.src import exporter, idcs, jobs
from grafana.src.board import assemble

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = {"jobs": jobs.board, "idcs": idcs.board, "exporter": exporter.board}


def render() -> dict[Path, str]:
    """Return the text of each file that Grafana loads."""
    return {
        FOLDER / f"{name}.json": json.dumps(assemble(board()), cls=JSONEncoder, indent=2, ensure_ascii=False)
        + "\n"
        for name, board in BOARDS.items()
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` return 1 if any is missing, stale or too many."""
    files = render()
    if "--check" in arguments:
        stale = [
            path.name for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text
        ]
        stale += [path.name for path in FOLDER.glob("*.json") if path not in files]
        if stale:
            sys.stderr.write(f"stale: {', '.join(stale)}; write them with: python -m grafana.generate\n")
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
