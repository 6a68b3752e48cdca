"""A built catalog and its engines → `ReportData`, all that the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import library_versions, parse_json
from pipeline.catalog.labels import values_of
from pipeline.config import Config
from pipeline.errors import NothingToMeasureError
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate_detailed
from pipeline.evaluation.reconstruction import ReconstructionSample
from pipeline.evaluation.results import Evaluation
from pipeline.models.projection import told_of_fit
from pipeline.models.store import HISTORY
from pipeline.progress import SILENT, Progress
from pipeline.report.example_queries import ExampleQuery, example_queries
from pipeline.report.maps import Maps, draw_maps
from pipeline.search import searcher as search
from pipeline.search.engine_searcher import EngineSearcher

_DEFAULTS = EvaluationOptions()


@dataclass(frozen=True)
class TrainingHistory:
    """Losses by epoch; the model is that of the lowest validation loss."""

    loss: Sequence[float]
    validation: Sequence[float]


@dataclass(frozen=True)
class EngineSummary:
    """An engine's model and index."""

    name: str
    network: str  # its type, and its network or architecture
    dim: int
    parameters: int | None
    fingerprint: str
    build: str
    index: str  # its type, and its recall if it is not exact
    photos: int
    items: int
    warning: str | None  # what to know before believing its answers
    told: str | None  # what it was made of, if of another engine's vectors, and how well
    training: TrainingHistory | None  # None if it was not trained here
    distances: npt.NDArray[np.float64]
    """(n,) float64, ascending: from photos of the catalog to their nearest neighbor."""
    limit: float | None
    """The distance beyond which there is no good match, by all distances; None if there is none."""
    category_limits: Mapping[str, float]  # of those that are judged by their own distances


_LIBRARIES = ("keras", "onnxruntime", "pillow", "tensorflow")


@dataclass(frozen=True)
class ReportData:
    """A catalog and its engines."""

    catalog: str
    publication: int
    label: str  # the column that labels come from
    states: Mapping[str, Mapping[str, int]]
    """State → reason → items; they add up to the rows that the source offered."""
    photos: int  # distinct ones that are available
    engines: tuple[EngineSummary, ...]
    evaluation: Evaluation | None
    not_measured: str | None  # why there is no evaluation
    reconstructions: tuple[ReconstructionSample, ...]
    example_queries: tuple[ExampleQuery, ...]
    maps: Maps
    settings: Mapping[str, Any]  # all of them, as a YAML file would have them
    versions: Mapping[str, str]  # of this program and of the libraries that results depend on


def report_data(
    config: Config, options: EvaluationOptions = _DEFAULTS, progress: Progress = SILENT
) -> ReportData:
    """Evaluate the engines, and collect example queries, maps and what is on disk.

    Without labels nothing is evaluated, and example queries are chosen by distances.

        report_data(load_config("config/default.yaml"), EvaluationOptions(label="category"))

    Raises:
        QueryError: there is no such column or engine.
        NotBuiltError, StaleIndexError, DamagedArtifactError: as `pipeline.open`.
    """
    with search.open(config, options.engines) as opened:
        searchers = list(opened.engines.values())
        try:
            details, not_measured = evaluate_detailed(config, options, progress, searchers), None
        except NothingToMeasureError as error:
            details, not_measured = None, str(error)
        catalog = searchers[0].catalog
        labels = values_of(catalog, options.label)
        return ReportData(
            catalog=config.catalog,
            publication=opened.publication.number,
            label=options.label,
            states=catalog.counts(),
            photos=catalog.photo_count(),
            engines=tuple(map(summarize_engine, searchers)),
            evaluation=details.evaluation if details else None,
            not_measured=not_measured,
            reconstructions=tuple(details.reconstructions) if details else (),
            example_queries=example_queries(searchers, labels, details, options.seed),
            maps=draw_maps(searchers, labels, options.seed, progress),
            settings=config.model_dump(mode="json"),
            versions={"imgsearch": version("imgsearch"), **library_versions(*_LIBRARIES)},
        )


_NETWORKS = {
    "autoencoder": "architecture",
    "pretrained": "network",
    "onnx": "file",
    "reduced": "of",
    "head": "of",
}


def summarize_engine(searcher: EngineSearcher) -> EngineSummary:
    """Read what an open engine's folders say."""
    model = searcher.model_folder
    history = None
    if HISTORY in model.manifest["files"]:
        history = parse_json(model.path / HISTORY, model.read(HISTORY))
    calibration = searcher.calibration
    percentile = searcher.config.search.no_match_percentile
    limits = calibration.category_limits(percentile)
    settings = searcher.engine.settings
    network = getattr(settings, _NETWORKS[settings.type])
    return EngineSummary(
        name=searcher.name,
        network=f"{settings.type}: {Path(network).name}",
        dim=model.dim,
        parameters=model.manifest.get("parameters"),
        fingerprint=searcher.build.fingerprint,
        build=searcher.build.path.name,
        index=f"{searcher.build.kind}; {searcher.recall}"
        if searcher.recall
        else searcher.build.kind,
        photos=searcher.build.manifest["rows"],
        items=searcher.build.manifest["items"],
        warning=searcher.warning,
        told=told_of_fit(searcher.name, model),
        training=TrainingHistory(history["loss"], history["val_loss"]) if history else None,
        distances=calibration.distances,
        limit=calibration.limit(percentile),
        category_limits={name: limit for name, limit in limits.items() if limit is not None},
    )
