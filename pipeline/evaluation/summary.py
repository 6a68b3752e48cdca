"""Scores of each query → means and intervals: overall, by label, and on held-out queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

import numpy as np

from pipeline.evaluation.experiment import ExperimentResult, RetrievalExperiment
from pipeline.evaluation.intervals import bootstrap
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.results import (
    FusionHeldOut,
    HeldOut,
    LabelCount,
    LabelHeldOut,
    Scores,
    System,
)
from pipeline.evaluation.retriever import Kind, Retriever
from pipeline.evaluation.trained import Trained, label_photos
from pipeline.index.base import F64Array, Ids, Mask
from pipeline.search.fusion import FUSED

_KIND_ORDER = ("engine", "fusion", "baseline")  # in which systems are listed


@dataclass(frozen=True)
class Summary:
    """Summarizes an experiment's result."""

    experiment: RetrievalExperiment
    result: ExperimentResult
    resamples: int
    seed: int

    @property
    def scored_labels(self) -> Ids:
        """(scored queries,) int64: the label of each."""
        return self.experiment.query_labels[self.result.answerable]

    def labels(self) -> dict[str, LabelCount]:
        """Return how often each label of the gallery occurs."""
        names = self.experiment.label_names
        items = np.bincount(self.experiment.gallery_labels, minlength=len(names)).tolist()
        queries = np.bincount(self.scored_labels, minlength=len(names)).tolist()
        return dict(zip(names, map(LabelCount, items, queries), strict=True))

    def similar_labels(self) -> tuple[tuple[str, ...], ...]:
        """Return labels of items and queries that differ only by case or blanks, together."""
        spellings: dict[str, list[str]] = defaultdict(list)
        for name in sorted({*self.experiment.label_names, *self.experiment.queries.labels}):
            spellings["".join(normalize("NFKC", name).casefold().split())].append(name)
        return tuple(tuple(names) for _, names in sorted(spellings.items()) if len(names) > 1)

    def systems(self, retrievers: Sequence[Retriever]) -> tuple[System, ...]:
        """Return each retriever's scores, and those of the fusion if there is one."""
        scores, labels = self.result.scores, self.scored_labels
        overall = self.estimates(scores)
        by_label = {
            name: self.estimates(scores[labels == i])
            for i, name in enumerate(self.experiment.label_names)
            if (labels == i).any()
        }
        named: list[tuple[str, Kind, str | None]] = [
            (r.name, r.kind, r.warning) for r in retrievers
        ]
        if scores.shape[1] > len(named):
            warnings = [r.warning for r in retrievers if r.warning]
            named.append((FUSED, "fusion", "; ".join(warnings) or None))
        systems = [
            System(name, kind, overall[i], {k: each[i] for k, each in by_label.items()}, warning)
            for i, (name, kind, warning) in enumerate(named)
        ]
        return tuple(sorted(systems, key=lambda system: _KIND_ORDER.index(system.kind)))

    def held_out(self, trained: Mapping[str, Trained]) -> dict[str, HeldOut]:
        """Score engines once more, each on the queries that it was not trained on.

        `trained` are all engines, in order; those that no photo was used for are left out. So is
        their fusion, if none of them learned labels.
        """
        queries = np.flatnonzero(self.result.answerable)
        photos = [self.experiment.queries.photos[query] for query in queries]
        names = list(trained)
        held_out = {}
        for name, (used, learned) in trained.items():
            if not used:
                continue
            is_new = np.array([used.isdisjoint(of_query) for of_query in photos])
            new = int(is_new.sum())
            counts = len(photos) - new, new
            scores = self._of_engine(names, name, is_new)
            if learned is None:
                held_out[name] = HeldOut(*counts, scores)
            else:
                label, source = learned
                of_source = self._of_engine(names, source, is_new)
                held_out[name] = LabelHeldOut(*counts, scores, label, source, of_source)
        if (used := label_photos(trained.values())) and len(trained) > 1:
            is_new = np.array([used.isdisjoint(of_query) for of_query in photos])
            scores = self.estimates(self.result.scores[is_new][:, -1:])[0] if is_new.any() else None
            held_out[FUSED] = FusionHeldOut(int((~is_new).sum()), int(is_new.sum()), scores)
        return held_out

    def _of_engine(self, engines: list[str], name: str, queries: Mask) -> Scores | None:
        """An engine's scores on some queries; None if it is not there, or if none are."""
        if name not in engines or not queries.any():
            return None
        engine = engines.index(name)
        return self.estimates(self.result.scores[queries][:, engine : engine + 1])[0]

    def estimates(self, scores: F64Array) -> list[Scores]:
        """(queries, systems, metrics) float64 → each system's means with their intervals."""
        columns = scores.reshape(len(scores), -1)
        estimates = iter(bootstrap(columns, self.resamples, self.seed))
        return [{metric: next(estimates) for metric in METRICS} for _ in range(scores.shape[1])]
