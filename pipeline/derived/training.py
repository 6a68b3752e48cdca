"""Fit what makes an engine's vectors of another's: vectors, and labels → model/<id>/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import digest
from pipeline.catalog.catalog import Catalog
from pipeline.config import DerivedSettings, HeadSettings, ReducedSettings
from pipeline.derived.head import fit_head
from pipeline.derived.labeled import Labeled, read_labels
from pipeline.derived.reduced import fit_reduced
from pipeline.derived.vectors import Sample, lowest, max_photos, read_sample
from pipeline.embeddings.arrays import Hashes, to_hashes
from pipeline.embeddings.store import EmbeddingStore
from pipeline.index.sealing import sha256_array
from pipeline.models.projection import PROJECTION, Projection
from pipeline.models.store import ModelFolder, ModelStore, save_arrays
from pipeline.progress import SILENT, Progress

EXAMPLES = "examples"
"""A row for each photo that a model was fitted to: its SHA-256, and of its label, if it has one."""


def fit_if_stale(
    name: str,
    settings: DerivedSettings,
    catalog: Catalog,
    store: ModelStore,
    source: ModelFolder,
    vectors: EmbeddingStore,
    *,
    recipe: Mapping[str, Any],
    progress: Progress = SILENT,
) -> tuple[ModelFolder, bool]:
    """Fit a projection of a source's vectors, unless a model by its settings knows the catalog.

    Returns the model, and whether it is new.

    Raises:
        TrainingError: there are too few photos or labels.
        DamagedArtifactError: a vector of the source is not what was written.
    """
    labeled = None
    if isinstance(settings, HeadSettings):
        labeled = read_labels(name, catalog, settings.label)
    photos = _photos(catalog) if labeled is None else labeled.photos
    photos = lowest(photos, max_photos(source.dim))
    examples = photos if labeled is None else labeled.examples(photos)
    for model in store.with_recipe(recipe, remove_damaged=True):
        is_of_source = model.embedding["source"] == source.fingerprint
        if is_of_source and _share_new(model, examples) <= settings.retrain_share:
            return store.use(model), False
    progress.note(f"{name}: learning from the vectors of {settings.of}")
    sample = read_sample(photos, source.dim, vectors)
    projection, facts, arrays = _fit(name, settings, sample, labeled)
    arrays |= {EXAMPLES: examples}
    return _publish(settings, store, source, recipe, projection, facts, arrays), True


def _photos(catalog: Catalog) -> Hashes:
    return to_hashes(b"".join(photo.sha256 for photo in catalog.photos()))


def _share_new(model: ModelFolder, examples: Hashes) -> float:
    known = {row.tobytes() for row in model.photos(EXAMPLES)}
    return sum(row.tobytes() not in known for row in examples) / max(len(examples), 1)


def _fit(
    name: str, settings: DerivedSettings, sample: Sample, labeled: Labeled | None
) -> tuple[Projection, Mapping[str, Any], dict[str, Hashes]]:
    """Return the projection, what is told of it, and which photos are held out of it."""
    if isinstance(settings, ReducedSettings) or labeled is None:
        assert isinstance(settings, ReducedSettings)  # noqa: S101  a head has labels
        return *fit_reduced(name, settings, sample), {}
    known = labeled.subset(sample.photos)
    projection, facts = fit_head(name, settings, sample, known)
    held_out = known.folds(settings.validation_split)[0]
    parts = {"training": sample.photos[~held_out], "validation": sample.photos[held_out]}
    return projection, facts, parts


def _publish(
    settings: DerivedSettings,
    store: ModelStore,
    source: ModelFolder,
    recipe: Mapping[str, Any],
    projection: Projection,
    facts: Mapping[str, Any],
    arrays: dict[str, Hashes],
) -> ModelFolder:
    matrices: dict[str, npt.NDArray[Any]] = {
        "mean": projection.mean,
        "components": projection.components,
    }

    def write(folder: Path) -> None:
        save_arrays(folder / PROJECTION, matrices)
        for part, array in arrays.items():
            np.save(folder / f"{part}.npy", array, allow_pickle=False)

    content = {
        "recipe": recipe,
        "embedding": {
            "version": 1,
            "type": settings.type,
            "source": source.fingerprint,
            "normalize": projection.normalize,
            "keeps_zeros": source.is_normalized,
        },
        "dim": len(projection.components),
        "weights": digest(
            [sha256_array(array) for array in (*matrices.values(), *arrays.values())]
        ),
        "parameters": sum(matrix.size for matrix in matrices.values()),
        "random_weights": source.has_random_weights,
        "source": {"engine": settings.of, "model": source.path.name},
        "network": source.manifest.get("network", settings.of),
        "fit": facts,
    }
    return store.publish(content, write)
