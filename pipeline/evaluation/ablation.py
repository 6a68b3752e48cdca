"""Ablate: what each stage of a search gains, query by query, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pipeline.evaluation.experiment import RetrievalExperiment
from pipeline.evaluation.folds import FOLDS, folds_of
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.intervals import Estimate, bootstrap
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.refined_ranker import refined_retriever
from pipeline.evaluation.retriever import Retriever
from pipeline.index.base import F64Array, F64Matrix
from pipeline.progress import SILENT, Progress
from pipeline.publish.tuning import MeasuredRefining, Refine
from pipeline.search.engine_searcher import EngineSearcher

REFINES: tuple[Refine, ...] = ("expand", "rerank")
_MAP, _P1, _P3 = (list(METRICS).index(name) for name in ("mAP", "P@1", "P@3"))

RefinedScores = Mapping[Refine, F64Matrix]
"""`off`, `expand` and `rerank` → (queries, metrics) float64 scores of one engine."""


@dataclass(frozen=True)
class StageGain:
    """What a stage changes, over the scored queries."""

    stage: str
    """`expand`, `rerank`; `measured`: what was chosen of these on other folds; `weighted` and
    `reciprocal_rank`: engines fused."""
    of: str
    """The engine; of a fusion, the engine that is best by itself, to which it is compared."""
    chosen: tuple[str, ...]
    """Of `measured`: what was chosen for each fold."""
    gains: Mapping[str, Estimate]
    """Metric → the mean difference, paired by query, and its 95 % interval."""


@dataclass(frozen=True)
class Ablation:
    """Measures what the stages gain in one experiment."""

    experiment: RetrievalExperiment
    gallery: Gallery
    searchers: Mapping[str, EngineSearcher]
    engines: Sequence[Retriever]
    """Of each searcher, unrefined."""
    seed: int
    resamples: int
    progress: Progress = SILENT

    def refined_scores(self) -> dict[str, RefinedScores]:
        """Engine → its scores, unrefined and refined."""
        by_refine: dict[Refine, F64Array] = {}
        for refine in ("off", *REFINES):
            retrievers = [
                refined_retriever(searcher, retriever, self.gallery, refine)
                for searcher, retriever in zip(self.searchers.values(), self.engines, strict=True)
            ]
            run = self.experiment.run(retrievers, fuse=False, progress=self.progress)
            by_refine[refine] = run.scores
        return {
            name: {refine: scores[:, i] for refine, scores in by_refine.items()}
            for i, name in enumerate(self.searchers)
        }

    def stages(self, weights: F64Matrix | None) -> tuple[StageGain, ...]:
        """Return every stage's gain; fused with (queries, engines) weights from other folds."""
        scores = self.refined_scores()
        gains = [
            gain for name, of_engine in scores.items() for gain in self._refining(name, of_engine)
        ]
        if weights is not None:
            off = {name: of_engine["off"] for name, of_engine in scores.items()}
            gains += self.fusing(off, weights)
        return tuple(gains)

    def _refining(self, engine: str, scores: RefinedScores) -> list[StageGain]:
        gains = [self._gain(r, engine, scores[r] - scores["off"]) for r in REFINES]
        fold = folds_of(len(scores["off"]), self.seed)
        measured = np.zeros_like(scores["off"])
        chosen = []
        for f in range(FOLDS):
            others = {refine: of_refine[fold != f] for refine, of_refine in scores.items()}
            choice = (
                choose(others, self.resamples, self.seed).chosen if len(others["off"]) else "off"
            )
            measured[fold == f] = (scores[choice] - scores["off"])[fold == f]
            chosen.append(choice)
        return [*gains, self._gain("measured", engine, measured, tuple(chosen))]

    def fusing(self, off: Mapping[str, F64Matrix], weights: F64Matrix) -> list[StageGain]:
        """Return what fusing gains over the best engine; `off`: (queries, metrics) of each."""
        best = max(off, key=lambda name: float(off[name][:, _P3].mean()))
        run = partial(self.experiment.run, self.engines, fuse=True, progress=self.progress)
        fused = {"reciprocal_rank": run(), "weighted": run(weights=weights)}
        return [
            self._gain(stage, best, result.scores[:, -1] - off[best])
            for stage, result in fused.items()
        ]

    def _gain(
        self, stage: str, of: str, differences: F64Matrix, chosen: tuple[str, ...] = ()
    ) -> StageGain:
        estimates = bootstrap(differences, self.resamples, self.seed)
        return StageGain(stage, of, chosen, dict(zip(METRICS, estimates, strict=True)))


def choose(scores: RefinedScores, resamples: int, seed: int) -> MeasuredRefining:
    """Choose what refines: the most mAP of what surely gains some and does not lower P@1.

    Surely: the interval of the gain, paired by query, is above 0. Scores are those of one query at
    least.
    """
    chosen: Refine = "off"
    gains: dict[str, dict[str, float]] = {}
    for refine in REFINES:
        difference = scores[refine] - scores["off"]
        (gain,) = bootstrap(difference[:, _MAP, np.newaxis], resamples, seed)
        first = float(difference[:, _P1].mean())
        gains[refine] = {"mAP": gain.mean, "low": gain.low, "high": gain.high, "P@1": first}
        best = gains[chosen]["mAP"] if chosen != "off" else 0.0
        if gain.low > 0 and first >= 0 and gain.mean > best:
            chosen = refine
    return MeasuredRefining(chosen, gains)
