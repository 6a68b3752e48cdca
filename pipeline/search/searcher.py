"""Search: a query → the nearest items of one engine's index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import images, models
from pipeline.catalog.catalog import Catalog, ItemRecord, State
from pipeline.catalog.conditions import Condition, Groups
from pipeline.concurrency import ordered_map
from pipeline.config import Config
from pipeline.errors import NotBuiltError, PipelineError, QueryError, RejectedImage, StaleIndexError
from pipeline.images import ImageLimits, U8Image
from pipeline.index import open_index
from pipeline.index.base import VectorIndex
from pipeline.index.builds import Build
from pipeline.index.calibration import read_calibration
from pipeline.models.base import EmbeddingModel
from pipeline.models.store import ModelFolder, random_weights_warning
from pipeline.search.ranking import QueryVectors, RankedItem, Ranking, SearchFilter
from pipeline.workspace import EngineFolder

F32Vector = npt.NDArray[np.float32]
_BLOCK = 256  # items whose neighbors are looked up at a time
_ENOUGH = 30  # held-out photos, with fewer of which nothing is called strange
_NONE = np.empty((0, 2), np.float32)
Query = Image.Image | Path | str | bytes | int | F32Vector


@dataclass(frozen=True)
class Hit:
    """One item near a query."""

    rank: int
    distance: float
    """Euclidean, of the item's nearest photo."""
    percentile: float | None
    """How far that is: the percentage of the catalog's photos that have a nearer neighbor."""
    ood_percentile: float | None
    """How unlike the catalog's photos the query itself is: the percentage of those held out in
    training that the engine rebuilds better. None if it rebuilds nothing, or no photo was asked
    with, or `search.out_of_distribution` is off."""
    id: int
    key: str
    name: str
    category: str
    path: Path | None
    """The nearest photo, or None if the ledger knows no file of it."""
    metadata: Mapping[str, Any]


def open(config: Config, engine: str) -> Searcher:  # noqa: A001  reads as `search.open`
    """Open an engine's current index.

    Raises:
        QueryError: the configuration has no such engine.
        NotBuiltError: it has no index yet.
        StaleIndexError: the model of the settings is not the one that the index was built with.
        DamagedArtifactError: its files are not what was written.
    """
    if engine not in config.engines:
        raise QueryError(
            f"unknown engine {engine!r}; the configuration has {', '.join(config.engines)}"
        )
    catalog = Catalog(config.folder, any_thread=True)
    try:
        folder = EngineFolder(config.folder / engine)
        build = folder.builds.current()
        if build is None:
            raise NotBuiltError(f"{folder.path}: no index here yet; run `imgsearch build`")
        return Searcher(config, engine, catalog, build, _model_of(build, config, folder))
    except BaseException:
        catalog.close()
        raise


def _model_of(build: Build, config: Config, folder: EngineFolder) -> ModelFolder:
    """Return the model that made a build's vectors, if it is still the one to use."""
    model = folder.models.get(build.manifest["model"])
    settings = config.engines[folder.path.name]
    recipe = models.recipe(settings, config.engines, read_file=False)
    if model and model.fingerprint == build.fingerprint and model.is_made_by(recipe):
        return model
    if model is None:
        now = "no longer there"
    elif model.fingerprint != build.fingerprint:
        now = model.fingerprint
    else:
        current = folder.models.current()
        other = current.fingerprint if current and current.is_made_by(recipe) else "not yet made"
        now = f"{other}, by the settings"
    raise StaleIndexError(
        f"{build.path}: made by model {build.fingerprint}, the model of {folder.path.name} is"
        f" {now}; run `imgsearch build`"
    )


class Searcher:
    """Answers queries from one build; what is published later does not disturb it.

    One may serve several threads. Close it, or use it in a `with` block.
    """

    def __init__(
        self,
        config: Config,
        engine: str,
        catalog: Catalog,
        build: Build,
        model_folder: ModelFolder,
    ) -> None:
        self.config = config
        self.engine = engine
        self.catalog = catalog
        self.limits = ImageLimits(**config.images.model_dump())
        # Opened now: later builds may remove this one's files.
        self.build = build.read()
        self.index: VectorIndex = open_index(build.kind, build.path)
        self.calibration = read_calibration(build.path)
        self._model_folder = model_folder

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the catalog."""
        self.catalog.close()

    @property
    def warning(self) -> str | None:
        """What to know before believing an answer."""
        random = self.build.manifest.get("random_weights")
        return random_weights_warning(self.engine) if random else None

    @cached_property
    def model(self) -> EmbeddingModel:
        """The model that made the vectors, loaded when a photo first needs it."""
        return models.load(self.engine, self._model_folder)

    def query(
        self,
        query: Query,
        k: int = 3,
        *,
        where: str | None = None,
        min_distance: float = 0.0,
        max_distance: float = inf,
        group_by: str | None = None,
    ) -> list[Hit]:
        """Return the k nearest items, by (distance, id); fewer only if fewer are wanted.

        `query` is an item's id (int), a photo (path, encoded bytes, or Pillow image), or a vector
        of `dim` numbers. An item is not its own neighbor; others that share its photo are.

        `where` is a condition on the catalog's columns, such as `category = 'Watches' and price <
        2000` (see `store/filters.py`); `group_by` a column, of each value of which only the nearest
        item is found. Distances are Euclidean, both ends included.

        Raises:
            QueryError: k is not positive, or there is no such file, item, vector or column.
            RejectedImage: the photo is not acceptable.
        """
        wanted = self._wanted(where, min_distance, max_distance, group_by)
        return self._rank([self._asked(query)], _positive(k), wanted)[0]

    def query_all(
        self,
        queries: Iterable[Query],
        k: int = 3,
        *,
        where: str | None = None,
        min_distance: float = 0.0,
        max_distance: float = inf,
        group_by: str | None = None,
    ) -> Iterator[list[Hit] | PipelineError]:
        """Yield what `query` returns for each query, or the error that it raises for it.

        Photos are decoded in parallel and encoded, and the index is searched, in batches, so that
        many queries take a fraction of the time of one at a time; memory holds one batch.

        Raises:
            QueryError: at once, if it holds for all of them.
        """
        wanted = self._wanted(where, min_distance, max_distance, group_by)
        return self._answer_all(iter(queries), _positive(k), wanted)

    def is_no_match(self, neighbors: Sequence[Hit]) -> bool:
        """Whether the query shows nothing that is here.

        That is, if its nearest neighbor is further away, or the query stranger, than is usual in
        this catalog: beyond the percentile `search.no_match_percentile`.
        """
        if not neighbors:
            return False
        known = (neighbors[0].percentile, neighbors[0].ood_percentile)
        limit = self.config.search.no_match_percentile
        return any(percentile is not None and percentile > limit for percentile in known)

    def graph(self, k: int) -> Iterator[list[tuple[int, list[RankedItem]]]]:
        """Yield every item of the index with its k nearest others, in blocks, by ascending id."""
        items, rows = self.build.ids[np.lexsort(self.build.ids.T)].T[::-1]
        ids, starts = np.unique(items, return_index=True)
        ends = np.append(starts[1:], len(items))
        ranking = Ranking(self.index, self.build, SearchFilter())
        for first in range(0, len(ids), _BLOCK):
            block = slice(first, first + _BLOCK)
            begin = starts[first]
            vectors = self.index.vectors(rows[begin : ends[block][-1]])
            asked = [
                QueryVectors(vectors[start - begin : end - begin], leave_out=item)
                for item, start, end in zip(
                    ids[block].tolist(), starts[block], ends[block], strict=True
                )
            ]
            yield list(zip(ids[block].tolist(), ranking.rank(asked, _positive(k)), strict=True))

    def _answer_all(
        self, queries: Iterator[Query], k: int, wanted: SearchFilter
    ) -> Iterator[list[Hit] | PipelineError]:
        embedding = self.config.embedding
        while batch := list(islice(queries, embedding.batch_size)):
            prepared = ordered_map(self._prepared, batch, embedding.decoders, ahead=len(batch))
            asked = self._encoded(list(prepared))
            answered = iter(
                self._rank([one for one in asked if isinstance(one, QueryVectors)], k, wanted)
            )
            yield from (next(answered) if isinstance(one, QueryVectors) else one for one in asked)

    def _prepared(self, query: Query) -> QueryVectors | U8Image | PipelineError:
        """A query up to where the model is needed; runs on several threads at once."""
        try:
            if isinstance(query, int | np.integer):
                return self._item(int(query))
            if isinstance(query, np.ndarray):
                return QueryVectors(self._checked(query)[np.newaxis])
            return self.model.prepare(self._image(query))
        except (QueryError, RejectedImage) as error:
            return error

    def _encoded(
        self, prepared: Sequence[QueryVectors | U8Image | PipelineError]
    ) -> list[QueryVectors | PipelineError]:
        """The same with the pixels among them turned into vectors, all at once."""
        pixels = [one for one in prepared if isinstance(one, np.ndarray)]
        if not pixels:
            return [one for one in prepared if not isinstance(one, np.ndarray)]
        photos = np.stack(pixels)
        known = zip(self.model.encode(photos), self._ood_percentiles(photos), strict=True)
        asked = (QueryVectors(vector[np.newaxis], None, strange) for vector, strange in known)
        return [next(asked) if isinstance(one, np.ndarray) else one for one in prepared]

    def _ood_percentiles(self, photos: npt.NDArray[np.uint8]) -> Sequence[float | None]:
        """How unlike the catalog's photos these are, in percentiles."""
        known = self._held_out_errors
        lost = self.model.reconstruction_errors(photos) if len(known) else None
        if lost is None:
            return [None] * len(photos)
        # By the measure that makes it look stranger.
        places = [np.searchsorted(*measure) for measure in zip(known.T, lost.T, strict=True)]
        return [100.0 * at / len(known) for at in np.max(places, axis=0).tolist()]

    @cached_property
    def _held_out_errors(self) -> npt.NDArray[np.float32]:
        """Of photos held out in training; none if nobody asks, or they are too few to tell."""
        lost = (
            self._model_folder.reconstruction_errors()
            if self.config.search.out_of_distribution
            else _NONE
        )
        return lost if len(lost) >= _ENOUGH else _NONE

    def _asked(self, query: Query) -> QueryVectors:
        (asked,) = self._encoded([self._prepared(query)])
        if isinstance(asked, PipelineError):
            raise asked
        return asked

    def _item(self, item: int) -> QueryVectors:
        rows = self.build.rows_of(item)
        if not len(rows):
            raise QueryError(
                f"item {item} is not in the index of {self.engine}; `imgsearch info` says what is"
            )
        return QueryVectors(self.index.vectors(rows), leave_out=item)

    def _checked(self, vector: npt.NDArray[Any]) -> F32Vector:
        vector = np.asarray(vector, np.float32)
        if vector.shape != (self.build.manifest["dim"],) or not np.isfinite(vector).all():
            raise QueryError(
                f"a query vector of {self.engine} is {self.build.manifest['dim']} finite"
                f" numbers, this is an array of shape {vector.shape}"
            )
        return vector

    def _image(self, query: Image.Image | Path | str | bytes) -> Image.Image:
        if isinstance(query, Image.Image):
            return images.to_rgb(query)
        if isinstance(query, bytes):
            return images.decode(query, self.limits)
        try:
            return images.decode(images.read_bytes(Path(query), self.limits), self.limits)
        except OSError as error:
            raise QueryError(f"{query}: cannot read the photo: {error.strerror}") from error
        except RejectedImage as rejected:
            raise QueryError(f"{query}: not an acceptable photo: {rejected}") from rejected

    def _wanted(
        self, where: str | None, min_distance: float, max_distance: float, group_by: str | None
    ) -> SearchFilter:
        if not 0 <= min_distance <= max_distance:
            raise QueryError(
                f"distances from {min_distance} to {max_distance}: give a least one, 0 or more, and"
                " a most that is not smaller"
            )
        condition = None if where is None else Condition(self.catalog, where)
        group = None if group_by is None else Groups(self.catalog, group_by)
        return SearchFilter(condition, min_distance, max_distance, group)

    def _rank(self, asked: Sequence[QueryVectors], k: int, wanted: SearchFilter) -> list[list[Hit]]:
        ranked = Ranking(self.index, self.build, wanted).rank(asked, k)
        return [
            [self._neighbor(rank, found, own.ood_percentile) for rank, found in enumerate(one, 1)]
            for own, one in zip(asked, ranked, strict=True)
        ]

    def _neighbor(self, rank: int, found: RankedItem, ood_percentile: float | None) -> Hit:
        item, distance, row = found
        record = self.catalog.item(item) or _unknown(item)
        path = self.catalog.photo_path(self.build.photos[row].tobytes(), item)
        return Hit(
            rank,
            distance,
            self.calibration.percentile(distance, record.category),
            ood_percentile,
            item,
            record.key,
            record.name,
            record.category,
            path,
            record.metadata,
        )


def _positive(k: int) -> int:
    if k <= 0:
        raise QueryError(f"k is {k}; ask for at least 1 neighbor")
    return k


def _unknown(item: int) -> ItemRecord:
    """Stand in for an item whose catalog was deleted and made anew since the build."""
    return ItemRecord(item, "", "", "", {}, State.REMOVED, "not in this catalog")
