"""Overview: all that is known of a built catalogue and its engines, to be told on one page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version

from pipeline.artifacts import library_versions
from pipeline.config import Config
from pipeline.errors import NothingToMeasureError
from pipeline.evaluation.details import Evidence
from pipeline.evaluation.evaluate import Plan, examine
from pipeline.evaluation.labels import values_of
from pipeline.models.store import LIBRARIES
from pipeline.progress import SILENT, Progress
from pipeline.report.engines import EngineFacts, Training, engine_facts
from pipeline.report.example_answers import Answer, Sheet, Sheets
from pipeline.report.example_queries import by_distance, by_score
from pipeline.report.maps import Maps, draw_maps
from pipeline.report.report_data import Overview
from pipeline.search import searcher as search
from pipeline.search.searcher import Searcher

__all__ = ["Answer", "EngineFacts", "Maps", "Overview", "Sheet", "Training", "overview"]

_PLAN = Plan()


def overview(config: Config, plan: Plan = _PLAN, progress: Progress = SILENT) -> Overview:
    """Evaluate the engines, and gather what shows how they come to their answers.

    Without labels nothing is evaluated, and queries are chosen by distances.

    Raises:
        QueryError: there is no such column or engine.
        NotBuiltError, StaleIndexError, DamagedArtifactError: as `search.open`.
    """
    evidence, unmeasured = None, None
    try:
        evidence = examine(config, plan, progress)
    except NothingToMeasureError as error:
        unmeasured = str(error)
    with ExitStack() as opened:
        names = dict.fromkeys(plan.engines or config.engines)
        searchers = [opened.enter_context(search.open(config, name)) for name in names]
        catalogue = searchers[0].catalogue
        labels = values_of(catalogue, plan.label)
        return Overview(
            catalogue=config.catalogue,
            label=plan.label,
            states=catalogue.counts(),
            photos=catalogue.photo_count(),
            engines=tuple(map(engine_facts, searchers)),
            evaluation=evidence.evaluation if evidence else None,
            unmeasured=unmeasured,
            rebuilt=tuple(evidence.rebuilt) if evidence else (),
            sheets=_sheets(searchers, labels, evidence, plan.seed),
            maps=draw_maps(searchers, labels, plan.seed, progress),
            settings=config.model_dump(mode="json"),
            versions={"imgsearch": version("imgsearch"), **library_versions(*LIBRARIES)},
        )


def _sheets(
    searchers: Sequence[Searcher], labels: dict[int, str], evidence: Evidence | None, seed: int
) -> tuple[Sheet, ...]:
    """Ask the queries that tell the most, by their scores if there are any."""
    chosen = by_score(evidence, labels) if evidence else by_distance(searchers, seed)
    asked = Sheets(searchers, labels)
    return tuple(asked.ask(why, item) for why, items in chosen.items() for item in items)
