"""What refining gains on each engine of three catalogs, and how long a refined search takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import fusion
import numpy as np

from pipeline.config import Config
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate
from pipeline.search import searcher as search
from pipeline.search.query import Item

QUERIES, TIMED, K = 1000, 200, 10


def measure(data: Path | None) -> list[dict[str, object]]:
    """Build the three catalogs, and refine what their engines find."""
    with tempfile.TemporaryDirectory() as folder:
        return [row for config in fusion.catalogs(data, Path(folder)) for row in refined(config)]


def refined(config: Config) -> Iterator[dict[str, object]]:
    """Yield a row for each way of refining each engine."""
    options = EvaluationOptions(queries=QUERIES, cost=False, ablate=True)
    evaluation = evaluate(config, options)
    means = {one.name: one.scores for one in evaluation.systems}
    times = {name: _times(config, name) for name in config.engines}
    for stage in evaluation.stages:
        if stage.stage in ("expand", "rerank", "measured"):
            gain, before = stage.gains["mAP"], means[stage.of]["mAP"].mean
            yield {
                "catalog": config.catalog,
                "engine": stage.of,
                "refine": stage.stage,
                "chosen": sorted(set(stage.chosen)),
                "mAP": f"{before:.3f}",
                "gain": f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
                "ratio": f"{1 + gain.mean / before:.3f}",
                "P@1": f"{stage.gains['P@1'].mean:+.3f}",
                "time of an item's search": times[stage.of].get(stage.stage, ""),
            }


def _times(config: Config, engine: str) -> dict[str, str]:
    """The 95th percentile of a search by an item's id, as a multiple of an unrefined one's."""
    with search.open(config, [engine]) as searcher:
        items = searcher.engines[engine].build.ids[:, 1]
        chosen = np.random.default_rng(0).choice(items, TIMED)
        taken: dict[str, list[float]] = {"off": [], "expand": [], "rerank": []}
        for item in map(int, chosen):
            for refine, times in taken.items():
                start = perf_counter()
                searcher.search(Item(item), K, refine=refine)  # type: ignore[arg-type]
                times.append(perf_counter() - start)
    p95 = {refine: float(np.percentile(times, 95)) for refine, times in taken.items()}
    return {refine: f"{time / p95['off']:.2f}" for refine, time in p95.items()}
