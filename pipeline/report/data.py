"""ReportData: all that is known of a built catalog and its engines, to be told on one page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version

from pipeline.artifacts import library_versions
from pipeline.config import Config
from pipeline.errors import NothingToMeasureError
from pipeline.evaluation.details import EvaluationDetails
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate_detailed
from pipeline.evaluation.labels import values_of
from pipeline.models.store import LIBRARIES
from pipeline.progress import SILENT, Progress
from pipeline.report.engines import EngineFacts, Training, engine_facts
from pipeline.report.example_answers import ExampleQueries, ExampleQuery, JudgedHit
from pipeline.report.example_queries import by_distance, by_score
from pipeline.report.maps import Maps, draw_maps
from pipeline.report.report_data import ReportData
from pipeline.search.engine_searcher import EngineSearcher, open_engine

__all__ = [
    "EngineFacts",
    "ExampleQuery",
    "JudgedHit",
    "Maps",
    "ReportData",
    "Training",
    "report_data",
]

_DEFAULTS = EvaluationOptions()


def report_data(
    config: Config, options: EvaluationOptions = _DEFAULTS, progress: Progress = SILENT
) -> ReportData:
    """Evaluate the engines, and gather what shows how they come to their answers.

    Without labels nothing is evaluated, and queries are chosen by distances.

    Raises:
        QueryError: there is no such column or engine.
        NotBuiltError, StaleIndexError, DamagedArtifactError: as `pipeline.open`.
    """
    evidence, unmeasured = None, None
    try:
        evidence = evaluate_detailed(config, options, progress)
    except NothingToMeasureError as error:
        unmeasured = str(error)
    with ExitStack() as opened:
        names = dict.fromkeys(options.engines or config.engines)
        searchers = [opened.enter_context(open_engine(config, name)) for name in names]
        catalog = searchers[0].catalog
        labels = values_of(catalog, options.label)
        return ReportData(
            catalog=config.catalog,
            label=options.label,
            states=catalog.counts(),
            photos=catalog.photo_count(),
            engines=tuple(map(engine_facts, searchers)),
            evaluation=evidence.evaluation if evidence else None,
            unmeasured=unmeasured,
            rebuilt=tuple(evidence.reconstructions) if evidence else (),
            sheets=_sheets(searchers, labels, evidence, options.seed),
            maps=draw_maps(searchers, labels, options.seed, progress),
            settings=config.model_dump(mode="json"),
            versions={"imgsearch": version("imgsearch"), **library_versions(*LIBRARIES)},
        )


def _sheets(
    searchers: Sequence[EngineSearcher],
    labels: dict[int, str],
    evidence: EvaluationDetails | None,
    seed: int,
) -> tuple[ExampleQuery, ...]:
    """Ask the queries that tell the most, by their scores if there are any."""
    chosen = by_score(evidence, labels) if evidence else by_distance(searchers, seed)
    asked = ExampleQueries(searchers, labels)
    return tuple(asked.ask(why, item) for why, items in chosen.items() for item in items)
