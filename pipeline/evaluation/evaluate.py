"""Evaluate: labels + indexes → how good each engine is, beside baselines, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Photo
from pipeline.config import AutoencoderSettings, Config
from pipeline.errors import NothingToMeasureError, QueryError
from pipeline.evaluation import cost
from pipeline.evaluation.baselines import pca_space, random_space
from pipeline.evaluation.details import EvaluationDetails
from pipeline.evaluation.exclusions import Exclusions
from pipeline.evaluation.experiment import RetrievalExperiment
from pipeline.evaluation.gallery import (
    Gallery,
    QuerySet,
    ask_with,
    encode,
    find_photos,
    leave_one_out,
)
from pipeline.evaluation.intervals import bootstrap
from pipeline.evaluation.labels import query_set, values_of
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.options import EvaluationOptions
from pipeline.evaluation.pixels import Pixels, Preprocessing, decode
from pipeline.evaluation.reconstruction import ReconstructionSample, reconstruction
from pipeline.evaluation.results import (
    Cost,
    Estimate,
    Evaluation,
    HeldOut,
    LabelCount,
    Scores,
    System,
)
from pipeline.evaluation.retriever import Retriever, VectorSet
from pipeline.models.store import ModelFolder
from pipeline.progress import SILENT, Progress
from pipeline.search.engine_searcher import EngineSearcher, open_engine
from pipeline.search.fusion import FUSED

__all__ = [
    "METRICS",
    "Cost",
    "Estimate",
    "Evaluation",
    "EvaluationOptions",
    "System",
    "evaluate",
    "evaluate_detailed",
]

F32Matrix = npt.NDArray[np.float32]
F64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_KINDS = ("engine", "fusion", "baseline")  # the order in which to tell of them

_COMPONENTS, _PREPROCESSING = (
    16,
    Preprocessing((64, 64), "bilinear"),
)  # of PCA, where no autoencoder says


_DEFAULTS = EvaluationOptions()


def evaluate(
    config: Config, options: EvaluationOptions = _DEFAULTS, progress: Progress = SILENT
) -> Evaluation:
    """Measure how well each engine, their fusion and two baselines find items of a query's label.

    Every labeled item asks in turn and all others are ranked, or labeled photos ask and all are.
    Items that show a photo of the query, byte for byte, or are the same product, are left out of
    its list and counted. All systems rank the same items for the same queries.

    Raises:
        QueryError: there is no such column or engine.
        NothingToMeasureError: no item has a label, or none has one in common with a query.
        NotBuiltError, StaleIndexError, DamagedArtifactError: as `pipeline.open`.
    """
    return evaluate_detailed(config, options, progress).evaluation


def evaluate_detailed(
    config: Config, options: EvaluationOptions = _DEFAULTS, progress: Progress = SILENT
) -> EvaluationDetails:
    """Do the same, and return what stands behind the numbers too.

    Raises:
        As `evaluate`.
    """
    for name, number in (("queries", options.queries), ("resamples", options.resamples)):
        if number is not None and number < 1:
            raise QueryError(f"{name} is {number}; give at least 1")
    with ExitStack() as opened:
        names = dict.fromkeys(options.engines or config.engines)
        searchers = [opened.enter_context(open_engine(config, name)) for name in names]
        return _Evaluator(config, options, searchers, progress).evaluate_detailed()


class _Evaluator:
    """One evaluation of some engines: what several parts need is read once."""

    def __init__(
        self,
        config: Config,
        options: EvaluationOptions,
        searchers: Sequence[EngineSearcher],
        progress: Progress,
    ) -> None:
        self.config, self.options, self.searchers, self.progress = (
            config,
            options,
            searchers,
            progress,
        )
        self.catalog, self.limits = searchers[0].catalog, searchers[0].limits
        self.labels = self._values(options.label)
        settings = [(s.name, config.engines[s.name]) for s in searchers]
        trained = {name: s for name, s in settings if isinstance(s, AutoencoderSettings)}
        self.preprocessing = {
            name: Preprocessing((one.input_size, one.input_size), one.resize)
            for name, one in trained.items()
        }
        # PCA of as many numbers preprocesses photos as the first autoencoder of that latent.
        self.baselines = {
            one.latent_dim: self.preprocessing[name] for name, one in reversed(trained.items())
        } or {_COMPONENTS: _PREPROCESSING}
        photos = list(self.catalog.photos())
        used = {*self.baselines.values(), *self.preprocessing.values()}
        self.pixels = {
            preprocessing: self._decoded(preprocessing, photos) for preprocessing in used
        }
        self.gallery = Gallery.of(
            self.catalog,
            self.labels,
            self._values(options.product) if options.product else {},
            [searcher.build.ids[:, 1] for searcher in searchers],
            [pixels.row_of().keys() for pixels in self.pixels.values()],
        )
        self.rejected: Counter[str] = Counter()
        self.questions = self._questions()

    def evaluate_detailed(self) -> EvaluationDetails:
        """Rank, score, and measure the rest."""
        options, gallery, questions = self.options, self.gallery, self.questions
        number = {label: at for at, label in enumerate(sorted(set(gallery.labels)))}
        asked = np.array([number.get(label, -1) for label in questions.labels], np.int64)
        photos = Exclusions(gallery.photos, questions.photos)
        products = Exclusions(gallery.products, questions.products)
        labels = np.array([number[label] for label in gallery.labels], np.int64)
        trial = RetrievalExperiment(labels, asked, questions.itself, (photos, products))
        spaces = self._spaces() if len(labels) and len(asked) else []
        fuse = len(self.searchers) > 1
        scores, answerable = trial.run(spaces, fuse=fuse, progress=self.progress)
        scored = asked[answerable]
        if not len(scored):
            raise NothingToMeasureError(
                f"nothing to find: of {len(asked):,} queries none has its {options.label} in common"
                f" with another of the {len(labels):,} items that can be ranked"
            )
        rebuilt = self._rebuilt()
        evaluation = Evaluation(
            catalog=self.config.catalog,
            label=options.label,
            query_set=None if options.query_set is None else str(options.query_set),
            items=len(labels),
            excluded_items=len(self.labels) - len(labels),
            queries=len(asked),
            scored=len(scored),
            nothing_to_find=len(asked) - len(scored),
            rejected=dict(self.rejected),
            same_photo=photos.left_out,
            product=options.product,
            same_product=products.left_out,
            labels={
                label: LabelCount(int((labels == at).sum()), int((scored == at).sum()))
                for label, at in number.items()
            },
            systems=self._systems(spaces, fuse, scores, scored, number),
            held_out=self._held_out(scores, answerable),
            reconstructions=tuple(one.measured for one in rebuilt),
            costs=tuple(map(self._cost, self.searchers)) if options.cost else (),
            resamples=options.resamples,
            seed=options.seed,
        )
        own = questions.itself
        return EvaluationDetails(
            evaluation,
            None if own is None else gallery.items[own[answerable]],
            scores[:, : len(self.searchers)],
            tuple(rebuilt),
        )

    def _values(self, column: str) -> dict[int, str]:
        values = values_of(self.catalog, column)
        if not values:
            raise NothingToMeasureError(
                f"no available item of {self.config.catalog} has a {column}; name a column that"
                " says which items belong together"
            )
        return values

    def _decoded(self, preprocessing: Preprocessing, photos: Sequence[Photo]) -> Pixels:
        config = self.config
        return decode(
            photos,
            preprocessing,
            self.limits,
            config.embedding.decoders,
            config.folder,
            self.progress,
        )

    def _questions(self) -> QuerySet:
        if self.options.query_set is None:
            return leave_one_out(self.gallery, self.options.queries, self.options.seed)
        labeled = query_set(self.options.query_set)
        found, self.rejected = find_photos(labeled, self.limits)
        asked = self._decoded(_PREPROCESSING, found)
        self.rejected += asked.rejected
        return ask_with(asked.photos, [labeled[photo.id].label for photo in asked.photos])

    def _spaces(self) -> list[Retriever]:
        """Every engine, then the baselines."""
        gallery, questions, seed = self.gallery, self.questions, self.options.seed
        baselines = [
            pca_space(
                gallery,
                questions,
                self.pixels[preprocessing],
                partial(self._decoded, preprocessing),
                count,
                seed,
            )
            for count, preprocessing in self.baselines.items()
        ]
        pixels = next(iter(self.pixels.values()))
        random = random_space(gallery, questions, pixels, seed)
        return [*map(self._engine, self.searchers), *baselines, random]

    def _engine(self, searcher: EngineSearcher) -> Retriever:
        batch, decoders = self.config.embedding.batch_size, self.config.embedding.decoders
        shown = VectorSet.by(searcher.index.vectors, searcher.build.ids, self.gallery.items)

        def vectors(photos: Sequence[Photo]) -> F32Matrix:
            return encode(searcher.model, photos, self.limits, batch, decoders)

        asked = self.questions.shown(shown, vectors)
        return Retriever(searcher.name, "engine", shown, asked, searcher.warning)

    def _systems(
        self,
        spaces: Sequence[Retriever],
        fuse: bool,
        scores: F64Array,
        scored: npt.NDArray[np.int64],
        number: dict[str, int],
    ) -> tuple[System, ...]:
        """Give each space, and the fusion, its means and intervals, overall and by label."""
        overall = self._estimates(scores)
        by_label = {
            label: self._estimates(scores[scored == at])
            for label, at in number.items()
            if (scored == at).any()
        }
        named = [(space.name, space.kind, space.warning) for space in spaces]
        if fuse:
            warnings = [space.warning for space in spaces if space.warning]
            named.append((FUSED, "fusion", "; ".join(warnings) or None))
        systems = (
            System(name, kind, own, {label: all_[at] for label, all_ in by_label.items()}, warning)
            for at, ((name, kind, warning), own) in enumerate(zip(named, overall, strict=True))
        )
        return tuple(sorted(systems, key=lambda system: _KINDS.index(system.kind)))

    def _estimates(self, scores: F64Array) -> list[Scores]:
        """(queries, systems, 6) float64 → each system's."""
        flat = scores.reshape(len(scores), -1)
        found = iter(bootstrap(flat, self.options.resamples, self.options.seed))
        return [{metric: next(found) for metric in METRICS} for _ in range(scores.shape[1])]

    def _held_out(self, scores: F64Array, answerable: Mask) -> dict[str, HeldOut]:
        """Score trained engines once more, on the queries that they were not trained on."""
        photos = [self.questions.photos[at] for at in np.flatnonzero(answerable)]
        found = {}
        for at, searcher in enumerate(self.searchers):
            model = self._model(searcher)
            known = {row.tobytes() for row in model.photos("training")} if model else set()
            if known:
                unseen = np.array([known.isdisjoint(own) for own in photos])
                own = self._estimates(scores[unseen][:, at : at + 1]) if unseen.any() else [None]
                count = int(unseen.sum())
                found[searcher.name] = HeldOut(len(photos) - count, count, own[0])
        return found

    def _model(self, searcher: EngineSearcher) -> ModelFolder | None:
        return searcher.engine.models.get(searcher.build.manifest["model"])

    def _rebuilt(self) -> list[ReconstructionSample]:
        found = []
        for searcher in self.searchers:
            model = self._model(searcher)
            preprocessing = self.preprocessing.get(searcher.name)
            if preprocessing and model:
                found.append(
                    reconstruction(
                        searcher.name,
                        model,
                        self.pixels[preprocessing],
                        self.options.seed,
                        self.progress,
                    )
                )
        return [one for one in found if one]

    def _cost(self, searcher: EngineSearcher) -> Cost:
        return cost.measure(
            searcher.name,
            searcher.model,
            searcher.index,
            searcher.build,
            lambda photo: searcher.search(photo, cost.K),
            next(iter(self.pixels.values())).photos,
            self.limits,
            self.config.embedding,
            self.options.seed,
        )
