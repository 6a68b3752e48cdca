"""What there is to know of an engine without asking it anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import read_json
from pipeline.errors import NotBuiltError
from pipeline.search.engine_searcher import EngineSearcher

F64Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EngineFacts:
    """An engine's model and index."""

    name: str
    network: str
    """What kind of network it is."""
    dim: int
    parameters: int | None
    fingerprint: str
    build: str
    index: str
    """The index's type."""
    photos: int
    items: int
    warning: str | None
    """What to know before believing its answers."""
    training: Training | None
    """None if it was not trained here."""
    distances: F64Vector
    """(n,) float64, ascending: from photos of the catalog to their nearest neighbor."""
    limit: float | None
    """The distance beyond which there is no good match; None if none is too far."""


@dataclass(frozen=True)
class Training:
    """Losses by epoch; the model is that of the lowest validation loss."""

    loss: Sequence[float]
    validation: Sequence[float]


def engine_facts(searcher: EngineSearcher) -> EngineFacts:
    """Read what an opened engine's folders say.

    Raises:
        NotBuiltError: another process has just removed its model.
    """
    manifest = searcher.build.manifest
    model = searcher.engine.models.get(manifest["model"])
    if model is None:
        raise NotBuiltError(f"{searcher.build.path}: its model is gone; run `imgsearch build`")
    losses = read_json(model.path / "history.json") if "epochs" in model.manifest else None
    distances = searcher.calibration.distances
    percentile = searcher.config.search.no_match_percentile
    settings = searcher.engine.settings
    network = settings.network if settings.type == "pretrained" else settings.architecture
    return EngineFacts(
        name=searcher.name,
        network=f"{settings.type}: {network}",
        dim=model.dim,
        parameters=model.manifest.get("parameters"),
        fingerprint=searcher.build.fingerprint,
        build=searcher.build.path.name,
        index=searcher.build.kind,
        photos=manifest["rows"],
        items=manifest["items"],
        warning=searcher.warning,
        training=Training(losses["loss"], losses["val_loss"]) if losses else None,
        distances=distances,
        limit=float(np.percentile(distances, percentile))
        if len(distances) and percentile < 100
        else None,
    )
