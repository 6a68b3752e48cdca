"""Search a catalog by all of its engines, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Self, Unpack

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.conditions import Condition
from pipeline.concurrency import parallel_zip, shared
from pipeline.config import Config
from pipeline.errors import PipelineError, QueryError
from pipeline.images import AUTO, as_region
from pipeline.search.encoding import PreparedPhoto, PreparedQuery
from pipeline.search.engine_searcher import EngineSearcher, open_engine, positive
from pipeline.search.fusion import DEPTH, fuse
from pipeline.search.query import (
    EncodedPhoto,
    EncodedQuery,
    Filters,
    Photo,
    Query,
    RegionOf,
    describe,
    read_photo,
)
from pipeline.search.result import EngineResult, SearchResult

PreparedQueries = Mapping[str, PreparedQuery]
"""Engine → what its encoder is given for one photo."""
_NO_REGION = "no plain background was found, so the whole photo was searched with"


def open(config: Config, engines: Sequence[str] = ()) -> Searcher:  # noqa: A001  `pipeline.open`
    """Open the current indexes of a catalog's engines, of all or of those named.

    `with pipeline.open(config) as searcher: searcher.search("photo.jpg", k=3)`

    Raises:
        QueryError: the configuration has no such engine.
        NotBuiltError: an engine has no index yet.
        StaleIndexError: the model of the settings is not the one that an index was built with.
        DamagedArtifactError: an index's files are not what was written.
    """
    with ExitStack() as stack:
        names = dict.fromkeys(engines or config.engines)
        opened = {name: stack.enter_context(open_engine(config, name)) for name in names}
        return Searcher(config, opened, stack.pop_all())


class Searcher:
    """Answers queries by several engines; it may serve several threads.

    Close it, or use it in a `with` block.
    """

    def __init__(
        self, config: Config, engines: dict[str, EngineSearcher], resources: ExitStack
    ) -> None:
        self.config = config
        self.engines = engines
        """Name → the searcher of one engine."""
        self._resources = resources

    @property
    def catalog(self) -> Catalog:
        """The ledger that all engines read."""
        return next(iter(self.engines.values())).catalog

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the indexes and the ledger."""
        self._resources.close()

    def select(self, engines: Sequence[str]) -> Searcher:
        """Return one that asks only these engines, of those that are open; closing it does nothing.

        Raises:
            QueryError: one of them is not open.
        """
        for name in engines:
            if name not in self.engines:
                there = f"there are {', '.join(self.engines)}"
                raise QueryError(f"unknown engine {name!r}", hint=there)
        chosen = {name: self.engines[name] for name in dict.fromkeys(engines)}
        return Searcher(self.config, chosen or self.engines, ExitStack())

    def prepare(self, photo: Photo, region: RegionOf | None = None) -> PreparedQueries:
        """Decode a photo, once for all engines, into the pixels that each of them takes.

        Raises:
            QueryError: there is no such file or region.
            RejectedImage: the photo is not acceptable.
        """
        limits = next(iter(self.engines.values())).limits
        part, used = read_photo(photo, limits, None if region is None else as_region(region))
        return {
            name: PreparedPhoto(engine.model.prepare(part), used)
            for name, engine in self.engines.items()
        }

    def encode(self, photos: Sequence[PreparedQueries]) -> list[EncodedPhoto | PipelineError]:
        """Encode photos that are prepared for all open engines, in one batch.

            (photo,) = searcher.encode([searcher.prepare("photo.jpg")])
            searcher.search(photo)

        An error takes the place of a photo in which an engine sees nothing.
        """
        by_engine = [
            engine.encoder.encode([photo[name] for photo in photos])
            for name, engine in self.engines.items()
        ]
        return [_encoded(self.engines, queries) for queries in zip(*by_engine, strict=True)]

    def search(
        self,
        query: Query,
        k: int = 3,
        *,
        region: RegionOf | None = None,
        fuse: bool = False,
        **filters: Unpack[Filters],
    ) -> SearchResult:
        """Return the k nearest items by each engine: `search("photo.jpg", k=3, where="id < 9")`.

        `query` is a photo (path, encoded bytes or Pillow image), `Item(7)`, or a vector of the one
        engine that is open. With `region=(x, y, w, h)`, fractions of the upright photo, only that
        part is searched with, and with `region="auto"` what stands out from a plain background.
        With `fuse` the result has one list more, all engines' lists fused.

        Raises:
            QueryError: k is not positive, or there is no such file, item, vector, region or column.
            RejectedImage: the photo is not acceptable.
        """
        (result,) = self.search_all([query], k, region=region, fuse=fuse, **filters)
        if isinstance(result, PipelineError):
            raise result
        return result

    def search_all(
        self,
        queries: Iterable[Query],
        k: int = 3,
        *,
        region: RegionOf | None = None,
        fuse: bool = False,
        **filters: Unpack[Filters],
    ) -> Iterator[SearchResult | PipelineError]:
        """Yield what `search` returns for each query, or the error that it raises for it.

        Queries are answered in batches, as `EngineSearcher.search_all` does.

        Raises:
            QueryError: at once, if it holds for all of them.
        """
        if fuse and filters.get("group_by") is not None:
            raise QueryError("fusing groups: each engine may pick another item of a group")
        depth = max(positive(k), DEPTH) if fuse else k
        originals, *copies = shared(queries, 1 + len(self.engines))
        streams = [
            engine.search_all(copy, depth, region=region, **filters)
            for engine, copy in zip(self.engines.values(), copies, strict=True)
        ]
        where = filters.get("where")
        condition = None if where is None else Condition(self.catalog, where)
        is_auto = region is not None and as_region(region) == AUTO
        return (
            _combine(query, results, k, fuse, condition, is_auto)
            for query, results in zip(originals, parallel_zip(streams), strict=True)
        )


def _encoded(
    engines: Iterable[str], queries: Sequence[EncodedQuery | PipelineError]
) -> EncodedPhoto | PipelineError:
    by_engine: dict[str, EncodedQuery] = {}
    for name, query in zip(engines, queries, strict=True):
        if isinstance(query, PipelineError):
            return query
        by_engine[name] = query
    return EncodedPhoto(by_engine)


def _combine(
    query: Query,
    results: Sequence[EngineResult | PipelineError],
    k: int,
    fused: bool,
    condition: Condition | None,
    is_auto: bool,
) -> SearchResult | PipelineError:
    """Put the engines' answers to one query together; the first error stands for all."""
    answers: dict[str, EngineResult] = {}
    for result in results:
        if isinstance(result, PipelineError):
            return result
        answers[result.engine] = result
    lists = {name: result.hits for name, result in answers.items()}
    found_none = is_auto and all(result.region is None for result in answers.values())
    return SearchResult(
        describe(query),
        {name: result.first(k) for name, result in answers.items()},
        fuse(lists, k) if fused else None,
        (*([_NO_REGION] if found_none else []), *_notes(condition, any(lists.values()))),
    )


def _notes(condition: Condition | None, has_hits: bool) -> tuple[str, ...]:
    if condition is None:
        return ()
    return (*condition.notes, *(() if has_hits else condition.suggestions))
