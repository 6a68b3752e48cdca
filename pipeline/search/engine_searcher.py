"""Search one engine's index: queries → hits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from math import inf
from typing import Self, Unpack, cast

import numpy as np

from pipeline.catalog.columns import Groups
from pipeline.catalog.conditions import Condition
from pipeline.catalog.words import find_words
from pipeline.concurrency import ordered_map
from pipeline.config import Config
from pipeline.duplicates.near_duplicates import NearDuplicates
from pipeline.engine import Engine, get_engine, image_limits
from pipeline.errors import PipelineError, QueryError
from pipeline.images import as_region
from pipeline.index import open_build
from pipeline.index.base import VectorIndex
from pipeline.index.calibration import read_calibration
from pipeline.index.milvus import narrowed, serve
from pipeline.models.base import EmbeddingModel
from pipeline.models.store import random_weights_warning
from pipeline.publish.opening import OpenPublication, open_publication
from pipeline.publish.tuning import Refine, Refining
from pipeline.search.encoding import PreparedQuery, QueryEncoder
from pipeline.search.feedback import Feedback, read_feedback
from pipeline.search.item_distances import ItemDistances
from pipeline.search.loaded_models import load_once
from pipeline.search.query import EncodedQuery, Filters, Options, Query, RegionOf
from pipeline.search.ranking import QueryVectors, RankedItem, Ranking, SearchFilter
from pipeline.search.refining import RefinedList, Refiner
from pipeline.search.result import EngineResult, Hit
from pipeline.search.tiers import rank_tiers
from pipeline.search.word_hits import WordRanking

GRAPH_BLOCK = 256  # items whose neighbors are searched for at a time


def open_engine(
    config: Config, name: str, publication: int | str | None = None, *, exact: bool = False
) -> EngineSearcher:
    """Open the index of one engine, of the publication that answers, or of another by its name.

    If it is `exact`, a promise of recall is left aside.

    Raises:
        QueryError: the configuration has no such engine, or there is no such publication.
        NotBuiltError: nothing is published yet, or not with this engine.
        StaleIndexError: the model is not the one that the index was built with.
        DamagedArtifactError: its files are not what was written.
    """
    engine = get_engine(config, name)
    with ExitStack() as stack:
        opened = stack.enter_context(open_publication(config, publication))
        return EngineSearcher(engine, opened, stack, exact=exact)


class EngineSearcher:
    """Answers queries from one build of one engine; what is published later does not disturb it.

    It may serve several threads. Close it, or use it in a `with` block. Errors are those of
    `open_engine`.
    """

    def __init__(
        self,
        engine: Engine,
        opened: OpenPublication,
        resources: ExitStack | None = None,
        *,
        exact: bool = False,
    ) -> None:
        """Open the index of an engine; `resources` are taken over, and closed with it.

        It answers as it was built to, with a promise of recall if it has one, or `exact`.
        """
        self.engine, self._opened = engine, opened
        self.config = engine.config
        self.publication = opened.publication
        self.catalog = opened.catalog
        self.limits = image_limits(engine.config)
        self.build = opened.build_of(engine).read()
        self.model_folder = engine.model_of(self.build)
        self.calibration = read_calibration(self.build)
        settings = engine.config.index
        is_served = settings.type == "milvus" and not exact
        collection = opened.publication.collections.get(engine.name) if is_served else None
        self.index: VectorIndex = serve(
            settings.milvus, collection, open_build(self.build, exact=exact)
        )
        self.recall = None if exact else (collection or self.build).recall
        self.item_distances = ItemDistances(self.index, self.build)
        model = load_once(engine.name, self.model_folder, opened.loaded)
        self._encoder = QueryEncoder(
            engine, self.catalog, self.model_folder, self.build, self.index, model
        )
        self._resources = resources.pop_all() if resources else ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index; and the publication, if it was opened for this engine alone."""
        self.index.close()
        self._resources.close()

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name

    @property
    def warning(self) -> str | None:
        """What to know before believing an answer."""
        warnings = []
        if self.build.manifest.get("random_weights"):
            warnings.append(random_weights_warning(self.name, self.model_folder))
        if not self.engine.matches_settings(self.model_folder):
            warnings.append(
                f"{self.name}: publication {self.publication.number} answers by the model that it"
                " was published with; the settings are other ones since"
            )
        return "; ".join(warnings) or None

    @property
    def model(self) -> EmbeddingModel:
        """The model that made the vectors, loaded once, when a photo first needs it."""
        return self._encoder.model

    @property
    def encoder(self) -> QueryEncoder:
        """What turns queries into vectors."""
        return self._encoder

    def search(
        self,
        query: Query,
        k: int = 3,
        *,
        region: RegionOf | None = None,
        **options: Unpack[Options],
    ) -> EngineResult:
        """Return the k nearest items, by (distance, id); fewer only if fewer are allowed.

        `query` is a photo (path, encoded bytes or Pillow image), an `Item`, or a (dim,) vector. An
        item does not find itself; it finds others that share its photo. With `region` only that
        part of the photo is searched with, as if it were a photo of its own. `Text` is searched
        with by what it means, if the engine has a text tower, or with `look` by what the items look
        like whose text has its words. The query is moved toward items that are given as `like`,
        and away from those of `unlike`. With `refine` the order is refined otherwise than by
        `search.refine`: then it is not that of distances.

        Raises:
            QueryError: k is not positive, or there is no such file, item, vector, region or column.
            RejectedImage: the photo is not acceptable.
        """
        (result,) = self.search_all([query], k, region=region, **options)
        if isinstance(result, PipelineError):
            raise result
        return result

    def search_all(
        self,
        queries: Iterable[Query],
        k: int = 3,
        *,
        region: RegionOf | None = None,
        words: WordRanking | None = None,
        **options: Unpack[Options],
    ) -> Iterator[EngineResult | PipelineError]:
        """Yield what `search` returns for each query, or the error that it raises for it.

        Photos are decoded in parallel and encoded, and the index is searched, in batches, so that
        many queries take a fraction of the time of one at a time; memory holds one batch. `words`
        ranks items by words, where others ask for the same.

        Raises:
            QueryError: at once, if it holds for all of them.
        """
        part = None if region is None else as_region(region)
        part = None if region is None else as_region(region)
        is_by_look = options.pop("look", False)
        feedback = read_feedback(options.pop("like", ()), options.pop("unlike", ()), self._encoder)
        refine = self.chosen(options.pop("refine", None))
        filter_ = self._filter(**cast(Filters, options))
        words = words or WordRanking(self.catalog, filter_.condition)
        look = words if is_by_look else None
        prepare = partial(self._encoder.prepare, region=part, look=look)
        return self._search_batches(iter(queries), positive(k), filter_, prepare, feedback, refine)

    def chosen(self, refine: Refining | None = None) -> Refine:
        """Return how lists are refined: what was measured to be best, if that is to be used.

        With None, as `search.refine` says.
        """
        refine = self.config.search.refine if refine is None else refine
        if refine != "measured":
            return refine
        tuning = self.publication.tuning
        measured = tuning.refine if tuning else None
        return measured[self.name].chosen if measured and self.name in measured else "off"

    def rank(self, queries: Sequence[QueryVectors], k: int) -> list[list[RankedItem]]:
        """Return the k nearest items of each query, which is encoded, without their records."""
        return Ranking(self.index, self.build, SearchFilter()).rank(queries, positive(k))

    def is_no_match(self, hits: Sequence[Hit], ood_percentile: float | None = None) -> bool:
        """Whether the catalog shows nothing like a query with these hits, nearest first.

        That is, whether its nearest hit is further away, or its photo further out of distribution,
        than `search.no_match_percentile` percent of the catalog's own photos.
        """
        if not hits:
            return False
        limit = self.config.search.no_match_percentile
        nearest = min(hits, key=lambda hit: hit.distance)
        percentiles = (nearest.percentile, ood_percentile)
        return any(percentile is not None and percentile > limit for percentile in percentiles)

    def duplicates(self, collapse: bool | None = None) -> NearDuplicates | None:
        """What a search hides near-duplicates by, given its option; None if it hides none.

        Raises:
            NotBuiltError: no build has looked for near-duplicates.
        """
        is_collapsed = self.config.search.collapse if collapse is None else collapse
        return self._opened.duplicates if is_collapsed else None

    def graph(
        self, k: int, block_size: int = GRAPH_BLOCK
    ) -> Iterator[list[tuple[int, list[RankedItem]]]]:
        """Yield every item of the index with its k nearest others, in blocks, by ascending id."""
        items, rows = self.build.ids[np.lexsort(self.build.ids.T)].T[::-1]
        ids, starts = np.unique(items, return_index=True)
        ends = np.append(starts[1:], len(items))
        ranking = Ranking(self.index, self.build, SearchFilter())
        for first in range(0, len(ids), block_size):
            block = slice(first, first + block_size)
            begin = starts[first]
            vectors = self.index.vectors(rows[begin : ends[block][-1]])
            queries = [
                QueryVectors(vectors[start - begin : end - begin], exclude=(item,))
                for item, start, end in zip(
                    ids[block].tolist(), starts[block], ends[block], strict=True
                )
            ]
            yield list(zip(ids[block].tolist(), ranking.rank(queries, positive(k)), strict=True))

    def _search_batches(
        self,
        queries: Iterator[Query],
        k: int,
        filter_: SearchFilter,
        prepare: Callable[[Query], PreparedQuery],
        feedback: Feedback,
        refine: Refine,
    ) -> Iterator[EngineResult | PipelineError]:
        settings = self.config.embedding
        while batch := list(islice(queries, settings.batch_size)):
            prepared = ordered_map(prepare, batch, settings.decoders, ahead=len(batch))
            encoded = [feedback.applied(query) for query in self._encoder.encode(list(prepared))]
            vectors = [query for query in encoded if isinstance(query, EncodedQuery)]
            results = iter(self._results(vectors, k, filter_, refine))
            yield from (next(results) if isinstance(e, EncodedQuery) else e for e in encoded)

    def _filter(
        self,
        where: str | None = None,
        min_distance: float = 0.0,
        max_distance: float = inf,
        group_by: str | None = None,
        text: str | None = None,
        collapse: bool | None = None,
    ) -> SearchFilter:
        if not 0 <= min_distance <= max_distance:
            raise QueryError(
                f"distances from {min_distance} to {max_distance}",
                hint="give a smallest one of 0 or more, and a largest one that is not below it",
            )
        condition = None if where is None else Condition(self.catalog, where)
        words = None if text is None else find_words(self.catalog, text, condition)
        group = None if group_by is None else Groups(self.catalog, group_by).numbers
        duplicates = self.duplicates(collapse)
        return SearchFilter(condition, min_distance, max_distance, group, words, duplicates)

    def _results(
        self, queries: Sequence[EncodedQuery], k: int, filter_: SearchFilter, refine: Refine
    ) -> list[EngineResult]:
        tree = filter_.condition.tree if isinstance(filter_.condition, Condition) else None
        ranking = Ranking(narrowed(self.index, tree), self.build, filter_)
        vectors = [query.vectors for query in queries]
        if filter_.words is None:
            refiner = Refiner(ranking, refine)
            refined, refine = refiner.rank(vectors, k), refiner.refine
        else:  # whose tiers an order by vectors alone would mix
            ranked = rank_tiers(ranking, filter_.words.tiers(), vectors, k)
            refined = [RefinedList(q, items) for q, items in zip(vectors, ranked, strict=True)]
            refine = "off"
        return [
            self._result(
                [self._hit(rank, item, query) for rank, item in enumerate(found.items, 1)],
                query,
                found.searched,
                refine,
            )
            for query, found in zip(queries, refined, strict=True)
        ]

    def _result(
        self, hits: list[Hit], query: EncodedQuery, searched: QueryVectors, refine: Refine
    ) -> EngineResult:
        return EngineResult(
            self.name,
            tuple(hits),
            self.is_no_match(hits, query.ood_percentile),
            query.ood_percentile,
            self.build.path.name,
            self.build.fingerprint,
            self.warning,
            query.region,
            self.recall,
            None if refine == "off" else refine,
            searched,
        )

    def _hit(self, rank: int, ranked: RankedItem, query: EncodedQuery) -> Hit:
        item, distance, row, similar = ranked
        distance = distance if distance > query.rounding else 0.0
        record = self.catalog.item(item)
        if record is None:
            raise self.catalog.damaged(f"it has no item {item}, which is in {self.build.path}")
        sha256 = self.build.photos[row].tobytes()
        photo = self.catalog.photo_path(sha256, item)
        percentile = None
        if query.is_calibrated:
            percentile = self.calibration.percentile(distance, record.category)
        return Hit(rank, distance, percentile, record, photo, sha256.hex(), similar)


def positive(k: int) -> int:
    """Return k, the number of neighbors asked for.

    Raises:
        QueryError: it is below 1.
    """
    if k <= 0:
        raise QueryError(f"k is {k}", hint="ask for at least 1 neighbor")
    return k
