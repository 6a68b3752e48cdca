"""tables.py: what the terminal shows of an evaluation and of a comparison."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable
from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.evaluation.compare import ComparisonOptions, compare
from pipeline.evaluation.comparison import Pair
from pipeline.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate
from pipeline.evaluation.pixels import Preprocessing
from pipeline.evaluation.reconstruction import Reconstruction
from pipeline.evaluation.results import HeldOut
from pipeline.report.tables import Renderable, comparison_tables, evaluation_tables
from tests.cli.test_output import HOSTILE, PLAIN
from tests.engines import Opener, Thing, open_fair
from tests.report.test_data import toys

__all__ = ["open_fair"]


QUICK = EvaluationOptions(cost=False, pca_preprocessing=Preprocessing((8, 8), "bilinear"))


def shown(tables: Iterable[Renderable]) -> str:
    """What a wide terminal shows, without borders."""
    console = Console(file=io.StringIO(), width=500, highlight=False)
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().replace("│", " ").split())


@pytest.fixture
def evaluation(open_fair: Opener) -> Evaluation:
    fair = open_fair("color", "mixed")
    fair.build(toys(count=30))
    return evaluate(fair.config, EvaluationOptions(resamples=50))


def test_every_number_of_an_evaluation_is_shown(evaluation: Evaluation) -> None:
    reconstruction = Reconstruction("color", 40, 160, 16, 0.01234, 0.02345)
    held_out = {"color": HeldOut(20, 10, evaluation.systems[0].scores)}
    similar = (("Nike", "nike"), *((f"A{n}", f"a{n}") for n in range(21)))
    assert "only by case" not in shown(evaluation_tables(evaluation))
    evaluation = replace(
        evaluation,
        reconstructions=(reconstruction,),
        held_out=held_out,
        similar_labels=similar,
    )
    text = shown(evaluation_tables(evaluation))
    assert "labels that differ only by case or blanks: Nike / nike, A0 / a0, A1 / a1, " in text
    assert "A18 / a18, and 2 more" in text
    assert "fair: 30 items asked for others of their category among 30 items; 0 had nothing" in text
    for system in evaluation.systems:
        cells = (f"{e.mean:.3f} ({e.low:.3f}–{e.high:.3f})" for e in system.scores.values())
        assert f"{system.name} {' '.join(cells)}" in text
    for label, count in evaluation.labels.items():
        means = (f"{system.by_label[label]['P@3'].mean:.3f}" for system in evaluation.systems)
        assert f"{label} {count.items} {count.queries} {' '.join(means)}" in text
    for cost in evaluation.costs:
        assert f"{cost.lookup_ms:.2f} ms {cost.query_ms:.1f} ms 1.0000" in text
    assert "color 16 40 0.01234 0.02345" in text
    assert "color was trained on photos of 20 of these queries, which flatters it; without" in text
    assert "flatters it; without them, on 10 queries: " in text


def test_only_the_largest_labels_are_listed_and_the_rest_counted(open_fair: Opener) -> None:
    fair = open_fair("color")
    items = {f"{n}": Thing([(n, n, n)], f"label {n // 2}") for n in range(50)}
    fair.build(items)
    text = shown(evaluation_tables(evaluate(fair.config, QUICK)))
    assert text.count("label ") == 20 + 1  # and the title
    assert "and 5 more: see --json" in text


def test_a_comparison_shows_the_lists_and_what_they_add_up_to(open_fair: Opener) -> None:
    fair = open_fair("color", "mixed")
    fair.build(toys(count=30))
    comparison = compare(fair.config, ComparisonOptions(sample=3, k=4))
    pair = Pair((1, 2), ("k1", "k2"), (None, None), {"color": 1.0}, same_photo=True)
    text = shown(comparison_tables(replace(comparison, near_identical=(pair,))))
    for query in comparison.answers:
        assert f"Nearest to {query.query} ({query.label})" in text
        for rank in range(4):
            hits = [*(hits[rank] for hits in query.lists.values()), query.fused[rank]]
            row = " ".join(f"{h.item.name} · {h.item.category} · {h.item.id}" for h in hits)
            assert f"{rank + 1} {row}" in text
    (agreement,) = comparison.agreements
    assert f"mean of color / mixed: overlap@4 {agreement.overlap:.3f}, rank-biased" in text
    assert "mutual nearest neighbors under every engine: k1 and k2, which share a photo" in text
    assert "right by category: " in text


def test_of_many_queries_only_the_first_lists_are_shown(open_fair: Opener) -> None:
    fair = open_fair("color", "mixed")
    fair.build(toys(count=30))
    comparison = compare(fair.config, ComparisonOptions(sample=6))
    pair = Pair((1, 2), ("k1", "k2"), (None, None), {"color": 1.0}, same_photo=False)
    comparison = replace(comparison, near_identical=(pair,) * 13)
    text = shown(comparison_tables(comparison, limit=2))
    assert text.count("Nearest to") == 2
    assert "lists of 4 more queries: see --lists and --json" in text
    assert text.count("k1 and k2") == 10
    assert "mutual nearest neighbors: 3 more pairs: see --json" in text
    assert "mean of color / mixed: " in shown(comparison_tables(comparison, limit=0))


def test_names_from_anywhere_do_nothing_to_a_terminal(open_fair: Opener) -> None:
    fair = open_fair("color", "mixed")
    hostile = HOSTILE.replace("\udcff", "")  # which no catalog holds
    fair.build({f"{hostile} {n}": Thing([(n, n, n)], hostile) for n in range(6)})
    evaluation = replace(evaluate(fair.config, QUICK), catalog=HOSTILE)
    comparison = compare(fair.config, ComparisonOptions(sample=2))
    text = shown([*evaluation_tables(evaluation), *comparison_tables(comparison)])
    assert not [c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs"}]
    assert " ".join(PLAIN.split())[:30] in text
