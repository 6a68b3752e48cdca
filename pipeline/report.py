"""Results → pictures for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from pipeline import images
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.pictures import Tile, sheet
from pipeline.search import Neighbour

Answers = Mapping[str, Sequence[Neighbour]]
"""Engine → its neighbours of one query."""


def query_sheet(
    queries: Sequence[tuple[str, Path | None, Answers]],
    limits: ImageLimits,
    warnings: Mapping[str, str],
) -> Image.Image:
    """Draw each query and its neighbours with their distances, a row an engine.

    An engine that `warnings` names says in its title that its weights are random.
    """
    rows = []
    for name, path, answers in queries:
        query = Tile(_photo(path, limits), [name, "query"], is_query=True)
        for engine, neighbours in answers.items():
            found = [
                Tile(_photo(n.path, limits), [n.name, n.category, f"{n.rank}.  {n.distance:.4g}"])
                for n in neighbours
            ]
            title = f"{engine} (RANDOM weights)" if engine in warnings else engine
            rows.append((title, [query, *found]))
    return sheet(rows)


def _photo(path: Path | None, limits: ImageLimits) -> Image.Image | None:
    if path is None:
        return None
    try:
        return images.decode(images.read_bytes(path, limits), limits)
    except (OSError, RejectedImage):
        return None
