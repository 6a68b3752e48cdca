"""Search one engine's index, as long as it is open: queries → hits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self, Unpack

from pipeline.config import Config
from pipeline.engine import Engine, get_engine, image_limits
from pipeline.errors import PipelineError
from pipeline.index import open_build
from pipeline.index.base import VectorIndex
from pipeline.index.calibration import read_calibration
from pipeline.index.milvus import ensure_ready, narrowed, serve
from pipeline.models.base import EmbeddingModel
from pipeline.models.store import random_weights_warning
from pipeline.publish.opening import OpenPublication, open_publication
from pipeline.publish.tuning import Refine, Refining
from pipeline.search.encoding import QueryEncoder
from pipeline.search.engine_answers import EngineAnswers
from pipeline.search.engine_search import EngineSearch
from pipeline.search.feedback import read_feedback
from pipeline.search.item_distances import ItemDistances
from pipeline.search.loaded_models import load_once
from pipeline.search.query import Options, Query, RegionOf
from pipeline.search.ranking import QueryVectors, RankedItem, Ranking, SearchFilter
from pipeline.search.result import EngineResult, Hit
from pipeline.search.spec import SearchSpec, positive, read_spec

if TYPE_CHECKING:
    from pipeline.duplicates.near_duplicates import NearDuplicates


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
        self.encoder = QueryEncoder(
            engine, self.catalog, self.model_folder, self.build, self.index, model
        )
        """What turns queries into vectors."""
        self._answers = EngineAnswers(
            engine.name,
            self.catalog,
            self.build,
            self.calibration,
            self.config.search.no_match_percentile,
            self.recall,
            self.warning,
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

    def ensure_ready(self) -> None:
        """Make sure that a server answers for the index, where one searches it.

        Raises:
            VectorDatabaseError: it does not.
        """
        ensure_ready(self.index)

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
        return self.encoder.model

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
        **options: Unpack[Options],
    ) -> Iterator[EngineResult | PipelineError]:
        """Yield what `search` returns for each query, or the error that it raises for it.

        Photos are decoded in parallel and encoded, and the index is searched, in batches, so that
        many queries take a fraction of the time of one at a time; memory holds one batch.

        Raises:
            QueryError: at once, if it holds for all of them.
        """
        spec = read_spec(self.catalog, self.duplicates, region, options)
        return self.answer(queries, k, spec)

    def answer(
        self, queries: Iterable[Query], k: int, spec: SearchSpec
    ) -> Iterator[EngineResult | PipelineError]:
        """Yield what `search_all` does, with options that have been read."""
        tree = spec.condition.tree if spec.condition else None
        return EngineSearch(
            spec,
            positive(k),
            self.encoder,
            read_feedback(spec.like, spec.unlike, self.encoder),
            Ranking(narrowed(self.index, tree), self.build, spec.filter),
            self.chosen(spec.refine),
            self._answers,
            self.config.embedding,
        ).run(queries)

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

    def is_no_match(self, hits: Sequence[Hit]) -> bool:
        """Whether the catalog shows nothing like a query with these hits."""
        return self._answers.is_no_match(hits)

    def duplicates(self, collapse: bool | None = None) -> NearDuplicates | None:
        """What a search hides near-duplicates by, given its option; None if it hides none.

        Raises:
            NotBuiltError: no build has looked for near-duplicates.
        """
        is_collapsed = self.config.search.collapse if collapse is None else collapse
        return self._opened.duplicates if is_collapsed else None
