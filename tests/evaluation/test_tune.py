"""tune.py and ablation.py: what is measured when a catalog is published, and by `evaluate`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.artifacts import read_manifest
from pipeline.config import Config
from pipeline.errors import QueryError
from pipeline.evaluation.ablation import choose
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.tune import candidates_of, tune
from pipeline.evaluation.views import view_candidates
from pipeline.maintenance.info import catalog_info
from pipeline.publish import publish
from pipeline.publish.publication import Publication
from pipeline.publish.publish import GateVerdict
from pipeline.publish.store import PublicationStore
from pipeline.search.query import Item
from pipeline.workspace import Workspace
from tests.engines import Fair, Opener, Thing, open_fair

__all__ = ["open_fair"]

QUICK = EvaluationOptions(cost=False, resamples=50)


def with_search(config: Config, **search: Any) -> Config:
    return Config.model_validate(config.model_dump() | {"search": search})


def halves(count: int, seed: int = 1) -> dict[str, Thing]:
    """Items of which green says the category; `red` does not see it."""
    random = np.random.default_rng(seed)
    return {
        f"k{n}": Thing([(r, g, b)], "light" if g > 100 else "dark")
        for n, (r, g, b) in enumerate(random.integers(0, 200, (count, 3)).tolist())
    }


def published(fair: Fair, items: dict[str, Thing], **search: Any) -> Publication:
    fair.config = with_search(fair.config, **search)
    fair.offer(items)
    for name in fair.config.engines:
        fair.build_only(name)
    ws = Workspace(fair.config, fair.catalog)
    publish.publish(ws, lambda *_: GateVerdict({}), partial(tune, fair.config))
    current = PublicationStore(fair.config).current()
    assert current is not None
    return current


def test_by_default_nothing_is_measured(open_fair: Opener) -> None:
    fair = open_fair("color", "red")
    assert published(fair, halves(40)).tuning is None
    folder = PublicationStore(fair.config).folder / "1"
    assert "tuning" not in read_manifest(folder)
    assert "tuning" not in catalog_info(fair.config).to_dict()


@pytest.mark.parametrize("label", ["category", None])
def test_weights_belong_to_the_publication(open_fair: Opener, label: str | None) -> None:
    """Green, which tells the categories and the photos apart, is not seen by `blind`."""
    fair = open_fair("blind", "color")
    tuning = published(fair, halves(60), fusion="weighted", label=label).tuning
    assert tuning is not None
    assert tuning.fusion is not None
    assert (tuning.label, tuning.fusion.of(["blind", "color"])) == (
        label,
        {"blind": 0.0, "color": 1.0},
    )
    assert catalog_info(fair.config).to_dict()["tuning"]["label"] == label
    with pipeline.open(fair.config) as searcher:
        result = searcher.search(Item(3), 9, fuse=True)
    assert result.fused is not None
    assert [hit.item.id for hit in result.fused] == [h.item.id for h in result["color"].hits]
    assert result.notes == ()


def test_weights_stand_while_little_changes(open_fair: Opener) -> None:
    fair, items = open_fair("color", "red"), halves(100)
    first = published(fair, items, fusion="weighted").tuning
    again = published(fair, items, fusion="weighted")
    assert (again.number, again.tuning) == (1, first)
    assert first is not None
    few = published(fair, items | {"new": Thing([(1, 2, 3)], "dark")}, fusion="weighted")
    assert (few.number, few.tuning) == (2, replace(first, unmeasured=1))
    many = published(fair, halves(140), fusion="weighted").tuning
    assert many is not None
    assert (many.unmeasured, many.queries > first.queries) == (0, True)


def test_a_setting_that_asks_for_more_is_published(open_fair: Opener) -> None:
    fair, items = open_fair("color", "red"), halves(40)
    numbers = [published(fair, items).number]
    numbers.append(published(fair, items, fusion="weighted").number)
    numbers.append(published(fair, items, fusion="weighted", refine="measured").number)
    numbers.append(published(fair, items).number)  # what was measured does no harm
    assert numbers == [1, 2, 3, 3]


def test_a_search_without_weights_says_so(open_fair: Opener) -> None:
    fair = open_fair("color", "red")
    fair.build(halves(10))
    with pipeline.open(with_search(fair.config, fusion="weighted")) as searcher:
        result = searcher.search(Item(3), 3, fuse=True)
        assert searcher.search(Item(3), 3).notes == ()
    assert "publication 1 has no weights" in result.notes[0]
    with pipeline.open(fair.config) as searcher:
        assert searcher.search(Item(3), 3, fuse=True).fused == result.fused


def test_a_label_that_is_no_column_is_refused(open_fair: Opener) -> None:
    with pytest.raises(QueryError, match="no item has a column 'shelf'"):
        published(open_fair("color", "red"), halves(10), fusion="weighted", label="shelf")


def test_views_are_found_by_what_sees_them(open_fair: Opener) -> None:
    """A view of one color is that color made brighter, which `red` sees a third of."""
    fair = open_fair("color", "blind")
    fair.build(halves(50))
    candidates = view_candidates({n: fair.searcher(n) for n in ("color", "blind")})
    right = np.take_along_axis(
        candidates.relevant, candidates.distances[0].argmin(axis=1)[:, np.newaxis], axis=1
    )
    assert len(candidates.queries) > 10
    assert right.mean() > 0.1
    assert (candidates.relevant.sum(axis=1) == 1).all()


@pytest.mark.parametrize(("random", "judged"), [(["red"], ("color",)), (["color", "red"], None)])
def test_without_a_label_networks_that_were_never_trained_are_not_judged(
    open_fair: Opener, random: list[str], judged: tuple[str, ...] | None
) -> None:
    fair = open_fair("color", "red")
    fair.build(halves(8))
    searchers = {name: fair.searcher(name) for name in ("color", "red")}
    for name in random:
        build = searchers[name].build
        object.__setattr__(build, "manifest", {**build.manifest, "random_weights": True})
    candidates, label = candidates_of(searchers, None)
    assert (candidates.engines, label) == (judged or ("color", "red"), None)


def scores(gain: float, first: float, queries: int = 200) -> dict[str, Any]:
    """Scores of which `expand` has so much more mAP and P@1, but for noise, and `rerank` half."""
    random = np.random.default_rng(1)
    off = random.uniform(0.2, 0.6, (queries, len(METRICS)))
    change = random.normal(0, 0.05, off.shape) + gain
    change[:, list(METRICS).index("P@1")] = first
    return {"off": off, "expand": off + change, "rerank": off + change / 2}


@pytest.mark.parametrize(
    ("gain", "first", "chosen"),
    [
        (0.05, 0, "expand"),
        (0.05, 0.1, "expand"),
        (0.05, -0.01, "off"),
        (0, 0, "off"),
        (-0.1, 0, "off"),
    ],
)
def test_only_a_sure_gain_is_chosen(gain: float, first: float, chosen: str) -> None:
    assert choose(scores(gain, first), 200, 7).chosen == chosen


@pytest.mark.parametrize(
    ("fusion", "refine"), [("reciprocal_rank", "expand"), ("weighted", "rerank")]
)
def test_what_is_evaluated_is_what_search_answers(
    open_fair: Opener, fusion: str, refine: str
) -> None:
    fair, items = open_fair("color", "red"), halves(36)
    published(fair, items, fusion=fusion, refine=refine)
    found = {one.name: one.scores for one in evaluate(fair.config, QUICK).systems}
    precisions: dict[str, list[float]] = {"color": [], "red": []}
    with pipeline.open(fair.config) as searcher:
        for key, thing in items.items():
            result = searcher.search(Item(fair.id_of(key)), 10)
            for name, values in precisions.items():
                right = [hit.item.category == thing.category for hit in result[name].hits]
                values.append(sum(right) / 10)
    for name, expected in precisions.items():
        assert found[name]["P@10"].mean == pytest.approx(np.mean(expected))


def test_weights_of_an_evaluation_are_of_other_folds(open_fair: Opener) -> None:
    fair = open_fair("blind", "color")
    published(fair, halves(60), fusion="weighted")
    found = evaluate(fair.config, replace(QUICK, ablate=True))
    assert found.fusion_weights == ({"blind": 0.0, "color": 1.0},) * 5
    by_name = {one.name: one.scores for one in found.systems}
    assert by_name["fused"] == by_name["color"]
    stages = {(one.stage, one.of): one for one in found.stages}
    assert {name for name, _ in stages} == {
        *("expand", "rerank", "measured", "reciprocal_rank", "weighted")
    }
    assert stages["weighted", "color"].gains["mAP"].mean == 0
    assert stages["reciprocal_rank", "color"].gains["P@10"].mean < 0
    assert len(stages["measured", "color"].chosen) == 5
    assert "stages" not in evaluate(fair.config, QUICK).to_dict()
