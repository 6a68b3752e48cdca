"""Ablate: what each stage of a search gains, query by query, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.experiment import ExperimentResult, RetrievalExperiment
from pipeline.evaluation.folds import FOLDS, folds_of
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.intervals import Estimate, bootstrap
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.refined_ranker import refined_retriever
from pipeline.evaluation.retriever import Retriever
from pipeline.evaluation.trained import label_photos, trained_on
from pipeline.index.base import F64Matrix, Mask
from pipeline.progress import SILENT, Progress
from pipeline.publish.tuning import MeasuredRefining, Refine
from pipeline.search.engine_searcher import EngineSearcher

MAX_QUERIES = 1000
"""That are ranked by every engine, unrefined and refined; more take long, and say little more."""
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
    queries: int
    """That were judged: of an engine that learned labels, those whose label it was not shown."""
    gains: Mapping[str, Estimate]
    """Metric → the mean difference, paired by query, and its 95 % interval."""


@dataclass(frozen=True)
class Ablation:
    """Measures what the stages gain in one experiment.

    An engine that learned labels is judged on the queries whose labels it was not shown.
    """

    experiment: RetrievalExperiment
    gallery: Gallery
    searchers: Mapping[str, EngineSearcher]
    engines: Sequence[Retriever]
    """Of each searcher, unrefined."""
    seed: int
    resamples: int
    progress: Progress = SILENT

    def stages(self, weights: F64Matrix | None) -> tuple[StageGain, ...]:
        """Return every stage's gain; fused with (queries, engines) weights from other folds."""
        off = self._run("off", () if weights is None else (None, weights))
        gains = [
            gain
            for name, scores in self._refined(off).items()
            if len(scores["off"])
            for gain in self._refining(name, scores)
        ]
        return tuple(gains if weights is None else [*gains, *self._fusing(off)])

    def refined_scores(self) -> dict[str, RefinedScores]:
        """Engine → its scores, unrefined and refined."""
        return self._refined(self._run("off"))

    def _refined(self, off: ExperimentResult) -> dict[str, RefinedScores]:
        results: dict[Refine, ExperimentResult] = {"off": off}
        results |= {refine: self._run(refine) for refine in REFINES}
        return {
            name: {
                refine: result.scores[self._is_new([name], off), i]
                for refine, result in results.items()
            }
            for i, name in enumerate(self.searchers)
        }

    def _run(self, refine: Refine, fusions: Sequence[F64Matrix | None] = ()) -> ExperimentResult:
        retrievers = [
            refined_retriever(searcher, retriever, self.gallery, refine)
            for searcher, retriever in zip(self.searchers.values(), self.engines, strict=True)
        ]
        return self.experiment.run(retrievers, fusions, progress=self.progress)

    def _is_new(self, engines: Sequence[str], result: ExperimentResult) -> Mask:
        """(scored queries,): whether none of the engines learned a query's label."""
        shown = label_photos(trained_on(self.searchers[name]) for name in engines)
        photos = self.experiment.queries.photos
        scored = np.flatnonzero(result.answerable)
        return np.array([shown.isdisjoint(photos[query]) for query in scored], np.bool_)

    def _refining(self, engine: str, scores: RefinedScores) -> list[StageGain]:
        gains = [self._gain(r, engine, scores[r] - scores["off"]) for r in REFINES]
        fold = folds_of(len(scores["off"]), self.seed)
        measured = np.zeros_like(scores["off"])
        chosen = []
        for f in range(FOLDS):
            others = {refine: of_refine[fold != f] for refine, of_refine in scores.items()}
            choice = choose(others, self.resamples, self.seed).chosen
            measured[fold == f] = (scores[choice] - scores["off"])[fold == f]
            chosen.append(choice)
        return [*gains, self._gain("measured", engine, measured, tuple(chosen))]

    def _fusing(self, off: ExperimentResult) -> list[StageGain]:
        """Return what fusing gains over the best engine."""
        names = list(self.searchers)
        scores = off.scores[self._is_new(names, off)]
        if not len(scores):
            return []
        best = int(np.argmax(scores[:, : len(names), _P3].mean(axis=0)))
        return [
            self._gain(stage, names[best], scores[:, len(names) + i] - scores[:, best])
            for i, stage in enumerate(("reciprocal_rank", "weighted"))
        ]

    def _gain(
        self, stage: str, of: str, differences: F64Matrix, chosen: tuple[str, ...] = ()
    ) -> StageGain:
        estimates = bootstrap(differences, self.resamples, self.seed)
        gains = dict(zip(METRICS, estimates, strict=True))
        return StageGain(stage, of, chosen, len(differences), gains)


def choose(scores: RefinedScores, resamples: int, seed: int) -> MeasuredRefining:
    """Choose what refines: the most mAP of what surely gains some and does not lower P@1.

    Surely: the interval of the gain, paired by query, is above 0.
    """
    if not len(scores["off"]):
        return MeasuredRefining("off", {})
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
