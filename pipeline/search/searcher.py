"""Search a catalog by all of its engines, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self, Unpack

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.conditions import Condition
from pipeline.concurrency import parallel_zip, shared
from pipeline.config import Config
from pipeline.duplicates.near_duplicates import NearDuplicates
from pipeline.engine import get_engine
from pipeline.errors import NoLookError, PipelineError, QueryError
from pipeline.images import AUTO, as_region
from pipeline.publish.opening import open_publication
from pipeline.publish.publication import Publication
from pipeline.search.collapsing import collapse_fused
from pipeline.search.encoding import PreparedPhoto, PreparedQuery
from pipeline.search.engine_fusion import EngineFusion
from pipeline.search.engine_searcher import EngineSearcher, positive
from pipeline.search.fusion import DEPTH, fuse
from pipeline.search.query import (
    EncodedPhoto,
    EncodedQuery,
    Options,
    Photo,
    Query,
    RegionOf,
    describe,
    read_photo,
)
from pipeline.search.result import EngineResult, FusedHit, Hit, SearchResult, TextHit
from pipeline.search.word_hits import TEXT, WordSearch, words_of

PreparedQueries = Mapping[str, PreparedQuery]
"""Engine → what its encoder is given for one photo."""
_NO_REGION = "no plain background was found, so the whole photo was searched with"


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
        return next(iter(self.engines.values())).publication

    @property
    def catalog(self) -> Catalog:
        """Its state of the ledger, which all engines read."""
        return next(iter(self.engines.values())).catalog

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
        depth = max(positive(k), DEPTH) if fuse else k
        originals, *copies = shared(queries, 1 + len(self.engines))
        where = options.get("where")
        condition = None if where is None else Condition(self.catalog, where)
        words = words_of(self.catalog, condition, options)
        streams = [
            engine.search_all(copy, depth, region=region, words=words.ranking, **options)
            for engine, copy in zip(self.engines.values(), copies, strict=True)
        ]
        asked = _Asked(
            k,
            DEPTH if fuse else 0,
            condition,
            is_auto=region is not None and as_region(region) == AUTO,
            is_moved=bool(options.get("like") or options.get("unlike")),
            words=words,
            duplicates=next(iter(self.engines.values())).duplicates(options.get("collapse")),
        )
        return (
            self._combine(query, results, asked)
            for query, results in zip(originals, parallel_zip(streams), strict=True)
        )

    def _combine(
        self,
        query: Query,
        results: Sequence[EngineResult | PipelineError],
        asked: _Asked,
    ) -> SearchResult | PipelineError:
        """Put the engines' answers to one query together; the first error stands for all."""
        answers: dict[str, EngineResult] = {}
        for result in results:
            if isinstance(result, EngineResult):
                answers[result.engine] = result
            elif not isinstance(result, NoLookError) or asked.is_moved:
                return result
        try:
            text, word_notes = asked.words.answer(query, max(k := asked.k, asked.fusion_depth))
        except QueryError as error:
            return error
        lists: dict[str, Sequence[Hit | TextHit]] = {n: found.hits for n, found in answers.items()}
        lists |= {} if text is None else {TEXT: text}
        found_none = asked.is_auto and all(result.region is None for result in answers.values())
        region_notes = [_NO_REGION] if found_none else []
        return SearchResult(
            describe(query),
            self.publication.number,
            {name: result.first(k) for name, result in answers.items()},
            self._fused(lists, answers, asked) if asked.fusion_depth else None,
            (
                *region_notes,
                *(self.fusion.notes if asked.fusion_depth else ()),
                *_notes(asked.condition, any(lists.values())),
                *word_notes,
                *self.notes,
            ),
            None if text is None else text[:k],
        )

    def _fused(
        self,
        lists: Mapping[str, Sequence[Hit | TextHit]],
        answers: Mapping[str, EngineResult],
        asked: _Asked,
    ) -> tuple[FusedHit, ...]:
        """All lists as one; what one shows another may show a near-duplicate of."""
        k = sum(map(len, lists.values())) if asked.duplicates else asked.k
        # A list of words has no distances that could be weighed.
        fused = fuse(lists, k) if TEXT in lists else self.fusion.fuse(answers, k)
        if asked.duplicates is None:
            return fused
        return collapse_fused(fused, asked.k, asked.duplicates)


@dataclass(frozen=True)
class _Asked:
    """What is asked for, beside the query."""

    k: int
    fusion_depth: int
    """How much of each list is fused at least; 0 if none is."""
    condition: Condition | None
    is_auto: bool
    """Whether the region is to be found."""
    is_moved: bool
    """Whether there are examples of what is wanted, or of what is not."""
    words: WordSearch
    duplicates: NearDuplicates | None
    """By which near-duplicates are collapsed; None: they are not."""


def _encoded(
    engines: Iterable[str], queries: Sequence[EncodedQuery | PipelineError]
) -> EncodedPhoto | PipelineError:
    by_engine: dict[str, EncodedQuery] = {}
    for name, query in zip(engines, queries, strict=True):
        if isinstance(query, PipelineError):
            return query
        by_engine[name] = query
    return EncodedPhoto(by_engine)


def _notes(condition: Condition | None, has_hits: bool) -> tuple[str, ...]:
    if condition is None:
        return ()
    return (*condition.notes, *(() if has_hits else condition.suggestions))
