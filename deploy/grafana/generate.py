"""Write the dashboards of `dashboards/` to `json/`, where Grafana finds them: `make dashboards`."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.board import Board
from deploy.grafana.dashboards.capacity import CAPACITY_BOARD
from deploy.grafana.dashboards.engines import ENGINES
from deploy.grafana.dashboards.images import IMAGES
from deploy.grafana.dashboards.quantization import QUANTIZATION
from deploy.grafana.dashboards.service import SERVICE

OUT = Path(__file__).parent / "json"
BOARDS = (SERVICE, IMAGES, ENGINES, CAPACITY_BOARD, QUANTIZATION)


def written(board: Board) -> str:
    """The file's content: sorted, so that a change of the SDK that means nothing changes nothing here."""
    return json.dumps(board.build(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for board in BOARDS:
        (OUT / f"{board.uid}.json").write_text(written(board))
    for path in OUT.glob("*.json"):
        if path.stem not in {board.uid for board in BOARDS}:
            path.unlink()


if __name__ == "__main__":
    main()
