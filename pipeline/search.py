"""Search: a query → the nearest items of one engine's index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import images, models
from pipeline.config import Config
from pipeline.errors import NotBuiltError, QueryError, RejectedImage, StaleIndexError
from pipeline.images import ImageLimits
from pipeline.models.base import EmbeddingModel
from pipeline.store.builds import Build
from pipeline.store.catalogue import Catalogue, ItemRecord, State
from pipeline.store.engine import EngineFolder
from pipeline.store.models import ModelFolder, random_weights_warning
from pipeline.vector_index import open_index
from pipeline.vector_index.base import VectorIndex

F32Vector = npt.NDArray[np.float32]
Query = Image.Image | Path | str | bytes | int | F32Vector


@dataclass(frozen=True)
class Neighbour:
    """One item near a query."""

    rank: int
    distance: float
    """Euclidean, of the item's nearest photo."""
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
    catalogue = Catalogue(config.folder, any_thread=True)
    try:
        folder = EngineFolder(config.folder / engine)
        build = folder.builds.current()
        if build is None:
            raise NotBuiltError(f"{folder.path}: no index here yet; run `imgsearch build`")
        return Searcher(config, engine, catalogue, build, _model_of(build, config, folder))
    except BaseException:
        catalogue.close()
        raise


def _model_of(build: Build, config: Config, folder: EngineFolder) -> ModelFolder:
    """Return the model that made a build's vectors, if it is still the one to use."""
    model = folder.models.get(build.manifest["model"])
    recipe = models.recipe(config.engines[folder.path.name], read_file=False)
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
        catalogue: Catalogue,
        build: Build,
        model_folder: ModelFolder,
    ) -> None:
        self.config = config
        self.engine = engine
        self.catalogue = catalogue
        self.limits = ImageLimits(**config.images.model_dump())
        # Opened now: later builds may remove this one's files.
        self.build = build.read()
        self.index: VectorIndex = open_index(build.kind, build.path)
        self._model_folder = model_folder

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the catalogue."""
        self.catalogue.close()

    @property
    def warning(self) -> str | None:
        """What to know before believing an answer."""
        random = self.build.manifest.get("random_weights")
        return random_weights_warning(self.engine) if random else None

    @cached_property
    def model(self) -> EmbeddingModel:
        """The model that made the vectors, loaded when a photo first needs it."""
        return models.load(self.engine, self._model_folder)

    def query(self, query: Query, k: int = 3) -> list[Neighbour]:
        """Return the k nearest items, by (distance, id); fewer if the index holds fewer.

        `query` is an item's id (int), a photo (path, encoded bytes, or Pillow image), or a vector
        of `dim` numbers. An item is not its own neighbour; others that share its photo are.

        Raises:
            QueryError: k is not positive, or there is no such file, item or vector.
            RejectedImage: the photo is not acceptable.
        """
        if k <= 0:
            raise QueryError(f"k is {k}; ask for at least 1 neighbour")
        if isinstance(query, int | np.integer):
            rows = self.build.rows_of(int(query))
            if not len(rows):
                raise QueryError(
                    f"item {query} is not in the index of {self.engine};"
                    " `imgsearch info` says what is"
                )
            return self._nearest(self.index.vectors(rows), k, leave_out=int(query))
        return self._nearest(self._vector(query)[np.newaxis], k)

    def _vector(self, query: Image.Image | Path | str | bytes | F32Vector) -> F32Vector:
        if isinstance(query, np.ndarray):
            vector = np.asarray(query, np.float32)
            if vector.shape != (self.build.manifest["dim"],) or not np.isfinite(vector).all():
                raise QueryError(
                    f"a query vector of {self.engine} is {self.build.manifest['dim']} finite"
                    f" numbers, this is an array of shape {vector.shape}"
                )
            return vector
        pixels = self.model.prepare(self._image(query))
        encoded: F32Vector = self.model.encode(pixels[np.newaxis])[0]
        return encoded

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

    def _nearest(
        self, vectors: npt.NDArray[np.float32], k: int, leave_out: int | None = None
    ) -> list[Neighbour]:
        """Items by the distance of their nearest row to the nearest of these vectors."""
        best: dict[int, tuple[float, int]] = {}
        for vector in vectors:
            for item, (distance, row) in self._items(vector, k, leave_out).items():
                if item not in best or distance < best[item][0]:
                    best[item] = (distance, row)
        ranked = sorted(best.items(), key=lambda pair: (pair[1][0], pair[0]))[:k]
        return [
            self._neighbour(rank, item, distance, row)
            for rank, (item, (distance, row)) in enumerate(ranked, 1)
        ]

    def _items(
        self, vector: F32Vector, k: int, leave_out: int | None
    ) -> dict[int, tuple[float, int]]:
        """At least the k nearest items of one vector: id → (distance, its nearest row)."""
        count = k + 2
        while True:
            found = self.index.search(vector[np.newaxis], count)
            distances, rows = found.distances[0], found.rows[0]
            items: dict[int, tuple[float, int]] = {}
            for distance, row in zip(distances.tolist(), rows.tolist(), strict=True):
                for item in self.build.items_of(row).tolist():
                    if item != leave_out:
                        items.setdefault(item, (distance, row))
            nearest = sorted(distance for distance, _ in items.values())
            # A row further on may tie with the k-th and show an item of a smaller id.
            if len(rows) == self.index.rows or (
                len(nearest) >= k and nearest[k - 1] < distances[-1]
            ):
                return items
            count = min(4 * count, self.index.rows)

    def _neighbour(self, rank: int, item: int, distance: float, row: int) -> Neighbour:
        record = self.catalogue.item(item) or _unknown(item)
        path = self.catalogue.photo_path(self.build.photos[row].tobytes(), item)
        return Neighbour(
            rank, distance, item, record.key, record.name, record.category, path, record.metadata
        )


def _unknown(item: int) -> ItemRecord:
    """Stand in for an item whose catalogue was deleted and made anew since the build."""
    return ItemRecord(item, "", "", "", {}, State.REMOVED, "not in this catalogue")
