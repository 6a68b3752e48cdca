"""Search a catalog by all of its engines, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Self, Unpack

from pipeline.catalog.catalog import Catalog
from pipeline.concurrency import parallel_zip, shared
from pipeline.config import Config
from pipeline.engine import get_engine
from pipeline.errors import PipelineError, QueryError
from pipeline.images import as_region
from pipeline.publish.opening import open_publication
from pipeline.publish.publication import Publication
from pipeline.search.combining import Combiner
from pipeline.search.encoding import PreparedPhoto, PreparedQuery
from pipeline.search.engine_fusion import EngineFusion
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.query import (
    EncodedPhoto,
    EncodedQuery,
    Options,
    Photo,
    Query,
    RegionOf,
    read_photo,
)
from pipeline.search.result import SearchResult
from pipeline.search.spec import positive, read_spec

PreparedQueries = Mapping[str, PreparedQuery]
"""Engine → what its encoder is given for one photo."""


def open(  # noqa: A001  `pipeline.open`
    config: Config, engines: Sequence[str] = (), publication: int | str | None = None
) -> Searcher:
    """Open what is published: the indexes of all engines, or of those named, and the ledger.

    `publication` is a number or a tag; else it is the one that answers now, and goes on to answer
    here whatever is published later: `PublicationStore(config).current_number()` tells when.

    `with pipeline.open(config) as searcher: searcher.search("photo.jpg", k=3)`

    Raises:
        QueryError: the configuration has no such engine, or there is no such publication.
        NotBuiltError: nothing is published yet, or not with an engine that was named.
        StaleIndexError: a model is not the one that an index was built with.
        DamagedArtifactError: an index's files are not what was written.
    """
    wanted = [get_engine(config, name) for name in dict.fromkeys(engines or config.engines)]
    with ExitStack() as stack:
        opened = stack.enter_context(open_publication(config, publication))
        published = opened.publication.engines
        missing = [] if engines else [one for one in wanted if one.name not in published]
        if len(missing) < len(wanted):
            wanted = [engine for engine in wanted if engine not in missing]
        searchers = {
            engine.name: stack.enter_context(EngineSearcher(engine, opened)) for engine in wanted
        }
        number = opened.publication.number
        notes = [f"publication {number} has no index of {engine.name}" for engine in missing]
        return Searcher(config, searchers, stack.pop_all(), notes)


class Searcher:
    """Answers queries by several engines from one publication; it may serve several threads.

    Close it, or use it in a `with` block.
    """

    def __init__(
        self,
        config: Config,
        engines: dict[str, EngineSearcher],
        resources: ExitStack,
        notes: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.engines = engines
        """Name → the searcher of one engine."""
        self.notes = tuple(notes)
        """What every answer says of itself: which engines were not published."""
        self.fusion = EngineFusion(engines)
        """What makes one list of the engines' lists."""
        self._resources = resources

    @property
    def publication(self) -> Publication:
        """What all answers come from."""
        return self._first.publication

    @property
    def catalog(self) -> Catalog:
        """Its state of the ledger, which all engines read."""
        return self._first.catalog

    @property
    def _first(self) -> EngineSearcher:
        return next(iter(self.engines.values()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the indexes and the ledger, and let the publication be removed some day."""
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
        return Searcher(self.config, chosen or self.engines, ExitStack(), self.notes)

    def prepare(self, photo: Photo, region: RegionOf | None = None) -> PreparedQueries:
        """Decode a photo, once for all engines, into the pixels that each of them takes.

        Raises:
            QueryError: there is no such file or region.
            RejectedImage: the photo is not acceptable.
        """
        limits = self._first.limits
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
        **options: Unpack[Options],
    ) -> SearchResult:
        """Return the k nearest items by each engine: `search("photo.jpg", k=3, where="id < 9")`.

        `query` is a photo (path, encoded bytes or Pillow image), `Item(7)`, `Text("red shirt")`, or
        a vector of the one engine that is open. Words find items whose text has them, and by the
        engines that have a text tower, what they mean; with `look`, the others find what the best
        of those items look like. The query is moved toward the items in `like`, and away from those
        in `unlike`. With `region=(x, y, w, h)`, fractions of the upright photo, only that
        part is searched with, and with `region="auto"` what stands out from a plain background.
        With `fuse` the result has one list more, all engines' lists fused; `refine` stands for
        `search.refine`.

        Raises:
            QueryError: k is not positive, or there is no such file, item, vector, region or column.
            RejectedImage: the photo is not acceptable.
        """
        (result,) = self.search_all([query], k, region=region, fuse=fuse, **options)
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
        **options: Unpack[Options],
    ) -> Iterator[SearchResult | PipelineError]:
        """Yield what `search` returns for each query, or the error that it raises for it.

        Queries are answered in batches, as `EngineSearcher.search_all` does.

        Raises:
            QueryError: at once, if it holds for all of them.
        """
        if fuse and options.get("group_by") is not None:
            raise QueryError("fusing groups: each engine may pick another item of a group")
        spec = read_spec(self.catalog, self._first.duplicates, region, options)
        fusion = self.fusion if fuse else None
        combiner = Combiner(spec, positive(k), fusion, self.publication.number, self.notes)
        originals, *copies = shared(queries, 1 + len(self.engines))
        streams = [
            engine.answer(copy, combiner.depth, spec)
            for engine, copy in zip(self.engines.values(), copies, strict=True)
        ]
        return (
            combiner.combine(query, results)
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
