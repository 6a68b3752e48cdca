"""Evaluate: labels + indexes → how good each engine is, beside baselines, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from pipeline.catalog.labels import values_of
from pipeline.config import Config
from pipeline.errors import NothingToMeasureError
from pipeline.evaluation import cost
from pipeline.evaluation.ablation import MAX_QUERIES, Ablation, StageGain
from pipeline.evaluation.experiment import RetrievalExperiment
from pipeline.evaluation.folds import FoldWeights, fold_weights
from pipeline.evaluation.gallery import Gallery, QuerySet, leave_one_out, sample
from pipeline.evaluation.labels import LabeledPhoto, read_query_set
from pipeline.evaluation.options import EvaluationOptions
from pipeline.evaluation.query_photos import encode_query_set
from pipeline.evaluation.results import Evaluation, EvaluationDetails
from pipeline.evaluation.retriever import Retriever
from pipeline.evaluation.summary import Summary
from pipeline.evaluation.systems import Systems
from pipeline.progress import SILENT, Progress
from pipeline.search import searcher as search
from pipeline.search.engine_searcher import EngineSearcher

__all__ = ["Evaluation", "EvaluationOptions", "evaluate", "evaluate_detailed"]

_DEFAULTS = EvaluationOptions()


def evaluate(
    config: Config, options: EvaluationOptions = _DEFAULTS, progress: Progress = SILENT
) -> Evaluation:
    """Measure how well each engine, their fusion and two baselines find items of a query's label.

    Every labeled item is a query for all others, or labeled photos are queries for all items.
    Items that show a photo of the query, byte for byte, or are the same product, are excluded from
    its list and counted. All systems rank the same items for the same queries:
    `evaluate(load_config("shop.yaml")).systems[0].scores["mAP"].mean`.

    Raises:
        QueryError: there is no such column or engine, or options do not go together.
        NothingToMeasureError: no item has a label, or none has one in common with a query.
        NotBuiltError, StaleIndexError, DamagedArtifactError: as `pipeline.open`.
    """
    return evaluate_detailed(config, options, progress).evaluation


def evaluate_detailed(
    config: Config,
    options: EvaluationOptions = _DEFAULTS,
    progress: Progress = SILENT,
    searchers: Sequence[EngineSearcher] = (),
) -> EvaluationDetails:
    """Evaluate, and return the scores of each query and reconstructed photos too.

    Engines that are open already may be given as `searchers`; they stay open.

    Raises as `evaluate`.
    """
    options.check()
    with ExitStack() as opened:
        if not searchers:
            searcher = opened.enter_context(search.open(config, options.engines))
            searchers = list(searcher.engines.values())
        return _Evaluator(config, options, searchers, progress).run()


class _Evaluator:
    def __init__(
        self,
        config: Config,
        options: EvaluationOptions,
        searchers: Sequence[EngineSearcher],
        progress: Progress,
    ) -> None:
        self.config, self.options, self.progress = config, options, progress
        self.searchers = searchers
        self.catalog, self.limits = searchers[0].catalog, searchers[0].limits
        self.systems = Systems(config, options, searchers, progress)

    def run(self) -> EvaluationDetails:
        """Rank, score, and measure the rest."""
        options = self.options
        labels = self._values(options.label)
        products = self._values(options.product) if options.product else {}
        labeled = self._query_set()  # before photos are decoded: its path may be wrong
        indexed = [searcher.build.ids[:, 1] for searcher in self.searchers]
        readable = [decoded.row_of().keys() for decoded in self.systems.pixels.values()]
        gallery = Gallery.of(self.catalog, labels, products, indexed, readable)
        retrievers = self.systems.retrievers(gallery) if len(gallery.items) else []
        queries, rejected = self._queries(gallery, retrievers, labeled)
        if not retrievers or not queries.labels:
            raise self._nothing_to_find(gallery, queries)

        experiment = RetrievalExperiment.of(gallery, queries)
        weights = self._fold_weights(gallery, queries)
        is_weighted = self.config.search.fusion == "weighted"
        result = experiment.run(
            [self.systems.as_searched(one, gallery) for one in retrievers],
            [weights.of_queries if weights and is_weighted else None]
            if len(self.searchers) > 1
            else [],
            progress=self.progress,
            query_block=options.query_block,
        )
        if not result.answerable.any():
            raise self._nothing_to_find(gallery, queries)

        reconstructions = self.systems.reconstructions()
        evaluation = self._evaluation(
            Summary(experiment, result, options.resamples, options.seed),
            retrievers,
            excluded_items=len(labels) - len(gallery.items),
            rejected=rejected,
            reconstructions=tuple(sample.measured for sample in reconstructions),
            costs=self._costs() if options.cost else (),
            fusion_weights=weights.by_fold if weights and is_weighted else (),
            stages=self._stages(gallery, queries, retrievers, weights),
        )
        items = None if queries.items is None else gallery.items[queries.items[result.answerable]]
        scores = result.scores[:, : len(self.searchers)]
        return EvaluationDetails(evaluation, items, scores, reconstructions)

    def _fold_weights(self, gallery: Gallery, queries: QuerySet) -> FoldWeights | None:
        """The weights of the fusion, from other folds; None where none are needed."""
        is_wanted = self.options.ablate or self.config.search.fusion == "weighted"
        if not is_wanted or len(self.searchers) == 1:
            return None
        return fold_weights(self.systems.searchers, gallery, queries, self.options.seed)

    def _stages(
        self,
        gallery: Gallery,
        queries: QuerySet,
        retrievers: Sequence[Retriever],
        weights: FoldWeights | None,
    ) -> tuple[StageGain, ...]:
        """What each stage gains over a sample of the queries, if that is asked for."""
        if not self.options.ablate:
            return ()
        chosen = sample(len(queries.labels), MAX_QUERIES, self.options.seed)
        experiment = RetrievalExperiment.of(gallery, queries.subset(chosen))
        engines = [one for one in retrievers if one.kind == "engine"]
        seed, resamples = self.options.seed, self.options.resamples
        ablation = Ablation(
            experiment, gallery, self.systems.searchers, engines, seed, resamples, self.progress
        )
        return ablation.stages(weights.of_queries[chosen] if weights else None)

    def _evaluation(
        self, summary: Summary, retrievers: Sequence[Retriever], **measured: Any
    ) -> Evaluation:
        """Put the result together; `measured` are fields that the summary does not tell."""
        options, result = self.options, summary.result
        queries, scored = len(result.answerable), int(result.answerable.sum())
        return Evaluation(
            catalog=self.config.catalog,
            publication=self.searchers[0].publication.number,
            label=options.label,
            query_set=None if options.query_set is None else str(options.query_set),
            items=len(summary.experiment.gallery_labels),
            queries=queries,
            scored=scored,
            unanswerable=queries - scored,
            same_photo=result.excluded["photo"],
            product=options.product,
            same_product=result.excluded["product"],
            labels=summary.labels(),
            similar_labels=summary.similar_labels(),
            systems=summary.systems(retrievers),
            held_out=summary.held_out(self.systems.trained()),
            resamples=options.resamples,
            seed=options.seed,
            **measured,
        )

    def _values(self, column: str) -> dict[int, str]:
        """The values of a column, by item."""
        values = values_of(self.catalog, column)
        if not values:
            raise NothingToMeasureError(
                f"no available item of {self.config.catalog} has a {column}",
                hint="name a column that says which items belong together",
            )
        return values

    def _query_set(self) -> tuple[list[LabeledPhoto], Counter[str]] | None:
        """The photos of a query set, if there is one, and why rows of it are none → how many."""
        path = self.options.query_set
        return None if path is None else read_query_set(path, self.config.query_set)

    def _queries(
        self,
        gallery: Gallery,
        retrievers: Sequence[Retriever],
        labeled: tuple[list[LabeledPhoto], Counter[str]] | None,
    ) -> tuple[QuerySet, dict[str, int]]:
        """The queries, and why other rows and photos of a query set are none → how many."""
        options = self.options
        if labeled is None:
            return leave_one_out(gallery, options.queries, options.seed), {}
        photos, skipped = labeled
        encoders = {retriever.name: retriever.load_encoder() for retriever in retrievers}
        settings = self.config.embedding
        queries, rejected = encode_query_set(photos, encoders, self.limits, settings, self.progress)
        return queries, dict(skipped + Counter(rejected))

    def _nothing_to_find(self, gallery: Gallery, queries: QuerySet) -> NothingToMeasureError:
        return NothingToMeasureError(
            f"nothing to find: of {len(queries.labels):,} queries none has its"
            f" {self.options.label} in common with another of the {len(gallery.items):,} items that"
            " can be ranked"
        )

    def _costs(self) -> tuple[cost.Cost, ...]:
        photos = next(iter(self.systems.pixels.values())).photos
        settings, seed = self.config.embedding, self.options.seed
        return tuple(
            cost.measure(searcher, photos, self.limits, settings, seed)
            for searcher in self.searchers
        )
