"""Image search for product catalogs.

    import pipeline

    config = pipeline.load_config("config/default.yaml")
    pipeline.build(config)
    with pipeline.open(config) as searcher:
        result = searcher.search("photo.jpg", k=3)
    result["vgg16"].hits[0].item.name, result["vgg16"].no_match

`stages.py` is where to begin reading: every stage in order. Each stage has a package, named in the
order of the data: sources → catalog → download → models → embeddings → index → publish → search →
evaluation → report; images, config and maintenance serve all of them, cli stands on top.

Importing this package imports nothing heavy and changes nothing in the process. Its notes go to
the logger `pipeline`.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config import Config, load_config
    from pipeline.errors import (
        BusyError,
        ConfigError,
        DamagedArtifactError,
        GateError,
        HeldError,
        NoLookError,
        NotBuiltError,
        NothingToMeasureError,
        PipelineError,
        QueryError,
        RejectedImage,
        RunnerError,
        SourceError,
        SourceGoneError,
        StaleIndexError,
        TrainingError,
        VectorDatabaseError,
        WeightsError,
    )
    from pipeline.search.query import Item, Text
    from pipeline.search.result import EngineResult, FusedHit, Hit, SearchResult, TextHit
    from pipeline.search.searcher import Searcher, open  # noqa: A004
    from pipeline.stages import BuildReport, build

    __version__: str

__all__ = [
    "BuildReport",
    "BusyError",
    "Config",
    "ConfigError",
    "DamagedArtifactError",
    "EngineResult",
    "FusedHit",
    "GateError",
    "HeldError",
    "Hit",
    "Item",
    "NoLookError",
    "NotBuiltError",
    "NothingToMeasureError",
    "PipelineError",
    "QueryError",
    "RejectedImage",
    "RunnerError",
    "SearchResult",
    "Searcher",
    "SourceError",
    "SourceGoneError",
    "StaleIndexError",
    "Text",
    "TextHit",
    "TrainingError",
    "VectorDatabaseError",
    "WeightsError",
    "__version__",
    "build",
    "load_config",
    "open",
]

_MODULES = {
    "BuildReport": "stages",
    "Config": "config",
    "EngineResult": "search.result",
    "FusedHit": "search.result",
    "Hit": "search.result",
    "Item": "search.query",
    "SearchResult": "search.result",
    "Searcher": "search.searcher",
    "Text": "search.query",
    "TextHit": "search.result",
    "build": "stages",
    "load_config": "config",
    "open": "search.searcher",
}

logging.getLogger("pipeline").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("imgsearch")
    else:
        value = getattr(importlib.import_module(f"pipeline.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
