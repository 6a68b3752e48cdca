"""Tune: what settings leave to be measured → how a publication answers, before it does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from pipeline.catalog.labels import values_of
from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.evaluation.ablation import Ablation, choose
from pipeline.evaluation.candidates import Candidates, labeled_candidates
from pipeline.evaluation.experiment import RetrievalExperiment
from pipeline.evaluation.fusion_fit import fit_fusion
from pipeline.evaluation.gallery import Gallery, leave_one_out, sample
from pipeline.evaluation.systems import engine_retriever
from pipeline.evaluation.views import view_candidates
from pipeline.publish.opening import OpenPublication
from pipeline.publish.publication import Publication
from pipeline.publish.tuning import MeasuredRefining, Tuning, tuning_settings
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.weighting import typical_distance

REFINED_ITEMS = 20_000  # labeled ones, that are ranked, refined and not
REFINED_QUERIES = 300
RESAMPLES, SEED = 1000, 7
MEASURED_SHARE = 0.05  # of the items: when so many have changed, all is measured again


def tune(config: Config, opened: OpenPublication, answering: Publication | None) -> Tuning | None:
    """Measure what the settings leave open; None where they leave nothing open.

    What was measured for the publication that answers now stands while the models are the same and
    few items have changed. `publish(workspace, gate, partial(tune, config))`.

    Raises:
        QueryError: there is no such column as `search.label`.
    """
    wanted = tuning_settings(config)
    if not wanted:
        return None
    if kept := _still_valid(wanted, opened.publication, answering):
        return kept
    with ExitStack() as stack:
        searchers = {
            name: stack.enter_context(EngineSearcher(Engine(name, config), opened))
            for name in opened.publication.engines
        }
        candidates, label = candidates_of(searchers, config.search.label)
        scales = {name: typical_distance(one.calibration) for name, one in searchers.items()}
        fusion = fit_fusion(candidates, scales) if "fusion" in wanted else None
        refine = _refining(config, searchers, label) if "refine" in wanted else None
        return Tuning(wanted, label, len(candidates.queries), fusion, refine)


def _refining(
    config: Config, searchers: Mapping[str, EngineSearcher], label: str | None
) -> dict[str, MeasuredRefining]:
    """What refines each engine's lists; nothing, where no label says what is right."""
    if label is None:
        return {name: MeasuredRefining("off", {}) for name in searchers}
    first = next(iter(searchers.values()))
    indexed = [one.build.ids[:, 1] for one in searchers.values()]
    values = values_of(first.catalog, label)
    chosen = np.array(sorted(values))[sample(len(values), REFINED_ITEMS, SEED)]
    labels = {item: values[item] for item in chosen.tolist()}
    gallery = Gallery.of(first.catalog, labels, {}, indexed, ())
    experiment = RetrievalExperiment.of(gallery, leave_one_out(gallery, REFINED_QUERIES, SEED))
    engines = [engine_retriever(one, gallery) for one in searchers.values()]
    ablation = Ablation(experiment, gallery, searchers, engines, SEED, RESAMPLES)
    return {
        name: choose(scores, RESAMPLES, SEED) for name, scores in ablation.refined_scores().items()
    }


def candidates_of(
    searchers: Mapping[str, EngineSearcher], label: str | None
) -> tuple[Candidates, str | None]:
    """Return what fusing is measured on, and the column that says what is right, if any does.

    Where the items of the column are all alike, or are all different, it says nothing. What finds a
    changed photo again need not find what belongs together: networks that were never trained are
    good at the one, and so get no weight without a label, beside others.
    """
    if label is not None:
        labels = values_of(next(iter(searchers.values())).catalog, label)
        candidates = labeled_candidates(searchers, labels)
        if len(set(labels.values())) > 1 and len(candidates.queries):
            return candidates, label
    trained = {
        name: one for name, one in searchers.items() if not one.build.manifest.get("random_weights")
    }
    return view_candidates(trained or searchers), None


def _still_valid(
    wanted: Mapping[str, str | None], publication: Publication, answering: Publication | None
) -> Tuning | None:
    """What was measured for the publication before, if it still says what is best."""
    before = answering.tuning if answering else None
    if not (answering and before) or before.settings != wanted:
        return None
    models = [{n: e.model for n, e in one.engines.items()} for one in (answering, publication)]
    changed = before.unmeasured + sum((publication.changes or {}).values())
    items = max(engine.items for engine in publication.engines.values())
    if models[0] != models[1] or changed > MEASURED_SHARE * items:
        return None
    return replace(before, unmeasured=changed)
