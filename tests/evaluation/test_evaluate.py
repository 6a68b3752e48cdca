"""evaluate: against an evaluation written afresh, and against what search answers."""

from __future__ import annotations

import csv
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, ndcg_score

from pipeline import images
from pipeline.artifacts import MANIFEST, sha256_file, write_sealed
from pipeline.config import AutoencoderSettings, Config, TrainingSettings
from pipeline.engine import Engine
from pipeline.errors import NotBuiltError, QueryError
from pipeline.evaluation.baselines import RANDOM, pca_name
from pipeline.evaluation.evaluate import (
    Evaluation,
    EvaluationOptions,
    evaluate,
    evaluate_detailed,
)
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.pixels import Preprocessing, decode
from pipeline.evaluation.reconstruction import reconstruction
from pipeline.images import ImageLimits
from pipeline.models.autoencoder.training import train
from pipeline.models.store import ModelStore
from pipeline.progress import Advance, Silent
from pipeline.search.fusion import FUSED, fuse
from pipeline.search.query import Item
from tests.conftest import Color, png
from tests.engines import VIEWS, Fair, Opener, Thing, open_fair

__all__ = ["open_fair"]

QUICK = EvaluationOptions(cost=False, pca_preprocessing=Preprocessing((8, 8), "bilinear"))
Things = dict[str, Thing]


def things(seed: int, count: int, most: int, labels: str = "abcd") -> Things:
    """Items of one to three photos with colors from 0 to `most`, of which some share photos."""
    rng = random.Random(seed)

    def color() -> Color:
        return rng.randrange(most), rng.randrange(most), rng.randrange(most)

    return {
        f"item {n:02}": Thing(
            [color() for _ in range(rng.choice([1, 1, 2, 3]))],
            rng.choice(labels),
            {"sku": rng.randrange(count // 2)},
        )
        for n in range(count)
    }


def apart(one: Thing, other: Thing, engine: str) -> float:
    """Distance of the nearest photos of two items."""
    a, b = (VIEWS[engine](np.array(t.colors, np.float32)).astype(np.float64) for t in (one, other))
    return float(np.sqrt(((a[:, np.newaxis] - b) ** 2).sum(axis=2)).min())


def by_hand(
    items: Things, engine: str, product: str | None = None
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The mean of each metric, and all queries' values, from the definitions and scikit-learn."""
    values: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for key, query in items.items():
        others = [
            (name, thing)
            for name, thing in items.items()
            if name != key
            and not set(thing.colors) & set(query.colors)
            and not (product and thing.metadata[product] == query.metadata[product])
        ]
        # Items are offered, and numbered, in their order.
        order = sorted(range(len(others)), key=lambda at: (apart(query, others[at][1], engine), at))
        right = np.array([others[at][1].category == query.category for at in order])
        if not right.any():
            continue
        falling = -np.arange(len(right))
        for k in (1, 3, 10):
            values[f"P@{k}"].append(float(right[:k].mean()))
        values["mAP"].append(average_precision_score(right, falling))
        values["nDCG@10"].append(
            ndcg_score(right[np.newaxis].astype(int), falling[np.newaxis], k=10)
        )
        values["MRR"].append(1 / (1 + int(np.argmax(right))))
    return {metric: float(np.mean(own)) for metric, own in values.items()}, values


def means(found: Evaluation) -> dict[str, dict[str, float]]:
    return {
        system.name: {metric: one.mean for metric, one in system.scores.items()}
        for system in found.systems
    }


# -- Against an evaluation written afresh ----------------------------------------------------------


@pytest.mark.parametrize(("seed", "most"), [(0, 256), (1, 256), (2, 5), (3, 3)])
@pytest.mark.parametrize("block", [7, 256])
def test_every_metric_is_that_of_an_independent_evaluation(
    open_fair: Opener, seed: int, most: int, block: int
) -> None:
    items = things(seed, 40, most)
    fair = open_fair("color", "red", "mixed")
    fair.build(items)
    found = means(evaluate(fair.config, replace(QUICK, query_block=block)))
    for engine in fair.config.engines:
        assert found[engine] == pytest.approx(by_hand(items, engine)[0], abs=1e-9)


@pytest.mark.parametrize("product", [None, "sku"])
def test_what_shares_a_photo_or_a_product_is_left_out_and_counted(
    open_fair: Opener, product: str | None
) -> None:
    items = things(5, 30, 4)
    fair = open_fair("color")
    fair.build(items)
    found = evaluate(fair.config, replace(QUICK, product=product))
    expected, values = by_hand(items, "color", product)
    assert means(found)["color"] == pytest.approx(expected, abs=1e-9)
    pairs = {"photo": [0] * 30, "sku": [0] * 30}
    for at, (key, one) in enumerate(items.items()):
        for other_key, other in items.items():
            if key != other_key:
                pairs["photo"][at] += bool(set(one.colors) & set(other.colors))
                pairs["sku"][at] += one.metadata["sku"] == other.metadata["sku"]
    assert (found.same_photo.queries, found.same_photo.pairs) == (
        sum(map(bool, pairs["photo"])),
        sum(pairs["photo"]),
    )
    skus = pairs["sku"] if product else [0]
    assert found.same_product.queries == sum(map(bool, skus))
    assert found.same_product.pairs == sum(skus)
    assert found.product == product
    assert (found.scored, found.queries) == (len(values["P@1"]), 30)


def test_the_first_ten_are_what_search_answers(open_fair: Opener) -> None:
    """With photos that no two items share, a query by id finds what is ranked here."""
    rng = random.Random(1)
    colors = rng.sample([(r, g, b) for r in range(4) for g in range(4) for b in range(4)], 45)
    items = {f"{n}": Thing([color], rng.choice("abc")) for n, color in enumerate(colors)}
    fair = open_fair("color", "red", "mixed")
    fair.build(items)
    found = means(evaluate(fair.config, QUICK))
    searchers = {name: fair.searcher(name) for name in fair.config.engines}

    def fused(item: int) -> list[str]:
        lists = {
            name: searcher.search(Item(item), 100).hits for name, searcher in searchers.items()
        }
        return [one.item.category for one in fuse(lists, 44)]

    def of(name: str) -> Callable[[int], list[str]]:
        return lambda item: [
            one.item.category for one in searchers[name].search(Item(item), 44).hits
        ]

    for name, ask in {**{name: of(name) for name in searchers}, "fused": fused}.items():
        values: dict[str, list[float]] = {metric: [] for metric in METRICS}
        for key, thing in items.items():
            right = [category == thing.category for category in ask(fair.id_of(key))]
            gains = [hit / math.log2(rank + 1) for rank, hit in enumerate(right[:10], 1)]
            ideal = sum(1 / math.log2(r + 1) for r in range(1, min(10, sum(right)) + 1))
            for k in (1, 3, 10):
                values[f"P@{k}"].append(sum(right[:k]) / k)
            values["mAP"].append(average_precision_score(right, -np.arange(44)))
            values["nDCG@10"].append(sum(gains) / ideal)
            values["MRR"].append(1 / (right.index(True) + 1))
        expected = {metric: float(np.mean(own)) for metric, own in values.items()}
        assert found[name] == pytest.approx(expected, abs=1e-12), name


def test_labels_have_scores_and_intervals_of_their_own(open_fair: Opener) -> None:
    items = things(6, 40, 256, "aab")
    fair = open_fair()
    fair.build(items)
    found = evaluate(fair.config, QUICK)
    _, values = by_hand(items, "color")
    (engine,) = (system for system in found.systems if system.name == "color")
    assert list(found.labels) == list(engine.by_label) == ["a", "b"]
    for label, count in found.labels.items():
        own = [at for at, thing in enumerate(items.values()) if thing.category == label]
        assert (count.items, count.queries) == (len(own), len(own))
        for metric in METRICS:
            one = engine.by_label[label][metric]
            assert one.mean == pytest.approx(np.mean([values[metric][at] for at in own]))
            assert one.low <= one.mean <= one.high
    for system in found.systems:
        for one in system.scores.values():
            assert 0 <= one.low < one.mean < one.high <= 1


# -- Baselines -------------------------------------------------------------------------------------


def test_the_baselines_are_pca_of_the_pixels_and_chance(open_fair: Opener) -> None:
    rng = np.random.default_rng(8)
    colors = [tuple(one) for one in rng.integers(0, 256, (90, 3)).tolist()]
    items = {f"{n}": Thing([c], "dark" if c[0] < 128 else "light") for n, c in enumerate(colors)}
    fair = open_fair("color")
    fair.build(items)
    found = evaluate(fair.config, QUICK)
    assert [(s.name, s.kind) for s in found.systems] == [
        ("color", "engine"),
        (pca_name(16), "baseline"),
        (RANDOM, "baseline"),
    ]
    # Photos of one color have three principal components, in which they are as far apart.
    pixels = np.repeat(np.array(colors), 5, axis=1) / 255
    projected = PCA(3).fit_transform(pixels)
    assert np.linalg.norm(projected[0] - projected[1]) * 255 / 5**0.5 == pytest.approx(
        math.dist(colors[0], colors[1])
    )
    scores = means(found)
    assert scores["pca-16"] == pytest.approx(scores["color"], abs=1e-6)
    share = np.mean([thing.category == "dark" for thing in items.values()])
    chance = share**2 + (1 - share) ** 2
    assert scores["random"]["P@10"] == pytest.approx(chance, abs=0.06)
    assert scores["random"]["mAP"] == pytest.approx(chance, abs=0.06)
    assert evaluate(fair.config, QUICK).systems == found.systems
    other = evaluate(fair.config, replace(QUICK, seed=8))
    assert means(other)["random"] != scores["random"]
    assert means(other)["color"] == scores["color"]


def test_reconstruction_is_measured_beside_pca_on_the_photos_held_out(tmp_path: Path) -> None:
    fair = Fair(tmp_path, ["color"])
    rng = random.Random(2)
    colors: list[Color] = [
        (rng.randrange(256), rng.randrange(256), rng.randrange(256)) for _ in range(24)
    ]
    fair.offer({f"{n}": Thing([color]) for n, color in enumerate(colors)})
    settings = AutoencoderSettings(
        type="autoencoder",
        architecture="strided",
        input_size=32,
        latent_dim=2,
        resize="nearest",
        training=TrainingSettings(batch_size=8, epochs=2, split="first"),
    )
    limits = ImageLimits()
    model = train("small", settings, fair.catalog, ModelStore(tmp_path / "model"), limits)
    photos = list(fair.catalog.photos())
    pixels = decode(photos, Preprocessing((32, 32), "nearest"), limits, 1, tmp_path)
    rebuilt = reconstruction("small", model, pixels, seed=0)
    assert rebuilt is not None
    found = rebuilt.measured
    assert (found.photos, found.training_photos, found.dim) == (4, 20, 2)
    assert found.mse == pytest.approx(model.manifest["validation_mse"], rel=1e-4)
    held_out, trained = np.array(colors[:4]) / 255, np.array(colors[4:]) / 255
    oracle = PCA(2).fit(trained)
    rest = held_out - oracle.inverse_transform(oracle.transform(held_out))
    assert found.pca_mse == pytest.approx(np.mean(rest**2), rel=1e-3)
    # The four that were held out are few enough to be shown, all of them.
    shown = [rebuilt.photos, rebuilt.by_engine, rebuilt.by_pca]
    assert [(one.shape, one.dtype) for one in shown] == [((4, 32, 32, 3), np.dtype("uint8"))] * 3
    assert (rebuilt.photos[:, 5, 5] == colors[:4]).all()
    by_pca = oracle.inverse_transform(oracle.transform(held_out)) * 255
    assert np.abs(rebuilt.by_pca[:, 9, 9] - np.clip(by_pca, 0, 255)).max() <= 1
    mse = np.mean((rebuilt.by_engine / 255.0 - rebuilt.photos / 255.0) ** 2)
    assert mse == pytest.approx(found.mse, rel=0.02)
    fewer = decode(photos[4:], Preprocessing((32, 32), "nearest"), limits, 1, tmp_path)
    assert reconstruction("small", model, fewer, seed=0) is None
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]
    fair.catalog.close()


@pytest.mark.parametrize("name", [RANDOM, pca_name(16), pca_name(1000), FUSED])
def test_no_engine_has_the_name_of_a_baseline_or_of_the_fusion(name: str) -> None:
    engines = {name: {"type": "pretrained"}}
    with pytest.raises(ValueError, match=f"'{name}'"):
        Config.model_validate({"source": {"type": "sample"}, "engines": engines})


# -- Other queries ---------------------------------------------------------------------------------


def test_a_sample_asks_and_all_are_ranked(open_fair: Opener) -> None:
    items = things(9, 40, 256)
    fair = open_fair("color")
    fair.build(items)
    found = evaluate(fair.config, replace(QUICK, queries=12))
    assert (found.queries, found.items) == (12, 40)
    assert found.systems == evaluate(fair.config, replace(QUICK, queries=12)).systems
    _, values = by_hand(items, "color")
    chosen = np.sort(np.random.default_rng(7).choice(40, 12, replace=False))
    expected = np.mean([values["mAP"][at] for at in chosen])
    assert means(found)["color"]["mAP"] == pytest.approx(expected)
    assert evaluate(fair.config, replace(QUICK, queries=1000)).queries == 40


def query_photos(folder: Path, labeled: Mapping[str, list[Color]]) -> None:
    for label, colors in labeled.items():
        (folder / label).mkdir(parents=True)
        for color in colors:
            (folder / label / f"{color}.png").write_bytes(png(color))


@pytest.mark.parametrize("form", ["folder", "csv"])
def test_a_query_set_brings_its_own_labels(open_fair: Opener, tmp_path: Path, form: str) -> None:
    items = {
        "a": Thing([(0, 0, 0)], "dark"),
        "b": Thing([(10, 0, 0)], "dark"),
        "c": Thing([(200, 0, 0), (1, 0, 0)], "light"),
        "d": Thing([(255, 0, 0)], "light"),
        "e": Thing([(128, 0, 0)], ""),
    }
    fair = open_fair()
    fair.build(items)
    folder = tmp_path / "asked"
    query_photos(
        folder, {"dark": [(2, 0, 0), (10, 0, 0)], "light": [(240, 0, 0)], "blue": [(9, 9, 9)]}
    )
    (folder / "dark" / "broken.png").write_bytes(b"no photo")
    asked = folder
    if form == "csv":
        asked = folder / "queries.csv"
        rows = [(f.relative_to(folder), f.parent.name) for f in sorted(folder.rglob("*.png"))]
        with asked.open("w", newline="") as file:
            csv.writer(file).writerows(
                [
                    ("label", "file"),
                    *((label, path) for path, label in rows),
                    ("dark", "gone.png"),
                    ("dark", "gone\0.png"),
                    ("", "x"),
                    ("dark",),
                    (),
                ]
            )
    found = evaluate(fair.config, replace(QUICK, query_set=asked))
    assert found.query_set == str(asked)
    assert (found.items, found.queries, found.scored, found.unanswerable) == (4, 4, 3, 1)
    skipped = {"photo missing": 2, "no label": 1, "wrong number of fields": 1, "blank row": 1}
    assert found.rejected == {"not an image": 1, **(skipped if form == "csv" else {})}
    # (10, 0, 0) is b's own photo.
    assert (found.same_photo.queries, found.same_photo.pairs) == (1, 1)
    (engine,) = (system for system in found.systems if system.name == "color")
    # (2, 0, 0): c a b d. (10, 0, 0), without b: c a d. (240, 0, 0): d c b a.
    assert engine.scores["P@1"].mean == pytest.approx((0 + 0 + 1) / 3)
    assert engine.scores["P@3"].mean == pytest.approx((2 / 3 + 1 / 3 + 2 / 3) / 3)
    assert engine.scores["P@10"].mean == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 3)
    assert engine.scores["mAP"].mean == pytest.approx(((1 / 2 + 2 / 3) / 2 + 1 / 2 + 1) / 3)
    assert engine.scores["MRR"].mean == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    (pixels,) = (system for system in found.systems if system.name == "pca-16")
    assert pixels.scores == engine.scores


def test_a_query_set_is_read_and_decoded_once(
    open_fair: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fair = open_fair("color", "red", "mixed")
    fair.build(things(1, 12, 256, "ab"))
    folder = tmp_path / "queries"
    query_photos(folder, {"a": [(1, 1, n) for n in range(40)], "b": [(9, 9, 9)]})
    calls: Counter[str] = Counter()
    for name in ("read_bytes", "decode"):
        original = getattr(images, name)

        def counted(
            *args: object, name: str = name, original: Callable[..., object] = original
        ) -> object:
            calls[name] += 1
            return original(*args)

        monkeypatch.setattr(images, name, counted)
    evaluate(fair.config, replace(QUICK, query_set=folder))
    catalog_photos = fair.catalog.photo_count()
    assert calls == {"read_bytes": catalog_photos + 41, "decode": catalog_photos + 41}


@pytest.mark.parametrize("option", ["queries", "product"])
def test_what_does_not_go_with_a_query_set_is_refused(
    open_fair: Opener, tmp_path: Path, option: str
) -> None:
    fair = open_fair("color")
    fair.build(things(1, 6, 9, "ab"))
    query_photos(tmp_path / "queries", {"a": [(1, 1, 1)]})
    value: Any = {"queries": 3, "product": "sku"}[option]
    options = replace(QUICK, query_set=tmp_path / "queries", **{option: value})
    with pytest.raises(QueryError, match=f"^--{option} does not go with --query-set") as raised:
        evaluate(fair.config, options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,what\na.png,x\n", "columns file and label"),
        ("file,label\n,x\n", "no labeled photos"),
        ("file,label\ngone.png,a\n", "nothing to find: of 0 queries"),
        ("sep=;\nfile;label\ngone.png;a\n", "nothing to find: of 0 queries"),
        ("file\tlabel\ngone.png\tä\n", "nothing to find: of 0 queries"),
        ("photo,label\na.png,x\n", "has the columns file and label; .* are photo, label$"),
        ("<!DOCTYPE html><html>", "a web page .HTML., not a CSV file"),
        ("", r"cannot read the query set: .*queries\.csv: no heading"),
        (None, "cannot read the query set"),
    ],
)
def test_a_query_set_that_is_none_is_refused(
    open_fair: Opener, tmp_path: Path, content: str | None, message: str
) -> None:
    fair = open_fair("color")
    fair.build(things(1, 6, 9, "ab"))
    file = tmp_path / "queries.csv"
    if content is not None:
        file.write_text(content)
    tasks: list[str] = []

    class Told(Silent):
        def task(self, label: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
            tasks.append(label)
            return super().task(label, total, unit)

    with pytest.raises(QueryError, match=message):
        evaluate(fair.config, replace(QUICK, query_set=file), Told())
    assert tasks == [] or message.startswith("nothing to find")  # it comes before the work


# -- Labels ----------------------------------------------------------------------------------------


def test_labels_come_from_any_column_and_items_without_are_not_in_the_gallery(
    open_fair: Opener,
) -> None:
    fair = open_fair("color")
    fair.build(
        {
            "a": Thing([(0, 0, 0)], "x", {"category_2": "dark", "year": 1}),
            "b": Thing([(1, 0, 0)], "x", {"category_2": "light", "year": 2}),
            "c": Thing([(2, 0, 0)], "x", {"category_2": "dark", "year": 1}),
            "d": Thing([(4, 0, 0)], "x", {"category_2": "light"}),
            "e": Thing([(9, 0, 0)], "x", {"category_2": "rare", "year": None}),
            "f": Thing([(8, 0, 0)], "x", {"category_2": ""}),
            "g": Thing([], "x", {"category_2": "dark", "year": 2}),
        }
    )
    by_level = evaluate(fair.config, replace(QUICK, label="category_2"))
    assert {label: vars(count) for label, count in by_level.labels.items()} == {
        "dark": {"items": 2, "queries": 2},
        "light": {"items": 2, "queries": 2},
        "rare": {"items": 1, "queries": 0},
    }
    assert (by_level.items, by_level.scored, by_level.unanswerable) == (5, 4, 1)
    assert list(by_level.systems[0].by_label) == ["dark", "light"]
    # a: b c d e. c: b a d e and b: a c d e, by (distance, id). d: c b a e.
    assert by_level.systems[0].scores["MRR"].mean == pytest.approx(
        (1 / 2 + 1 / 2 + 1 / 3 + 1 / 2) / 4
    )
    by_number = evaluate(fair.config, replace(QUICK, label="year"))
    assert list(by_number.labels) == ["1", "2"]
    assert (by_number.items, by_number.scored, by_number.unanswerable) == (3, 2, 1)
    assert evaluate(fair.config, QUICK).items == 6


def test_labels_that_differ_only_by_case_or_blanks_are_told_and_not_merged(
    open_fair: Opener, tmp_path: Path
) -> None:
    fair = open_fair("color")
    brands = ["Nike", "nike", "Nike", "Puma", "Puma", " Puma "]
    fair.build({f"{n}": Thing([(n, 0, 0)], brand) for n, brand in enumerate(brands)})
    found = evaluate(fair.config, QUICK)
    assert {label: count.items for label, count in found.labels.items()} == {
        "Nike": 2,
        "Puma": 3,
        "nike": 1,
    }
    assert found.similar_labels == (("Nike", "nike"),)
    assert found.to_dict()["similar_labels"] == (("Nike", "nike"),)
    # The labels of a query set count too: those photos have nothing to find.
    asked = {"PUMA": [(9, 0, 0)], "Puma": [(8, 0, 0)], "Ni\xa0 ke": [(7, 0, 0)]}
    query_photos(tmp_path / "queries", asked)
    found = evaluate(fair.config, replace(QUICK, query_set=tmp_path / "queries"))
    assert found.similar_labels == (("Nike", "Ni\xa0 ke", "nike"), ("PUMA", "Puma"))


@pytest.mark.parametrize("written", ["7", " 7 ", "7.0"])
def test_labels_of_a_query_set_equal_those_of_the_catalog_as_in_conditions(
    open_fair: Opener, tmp_path: Path, written: str
) -> None:
    fair = open_fair("color")
    fair.build({"a": Thing([(0, 0, 0)], "7"), "b": Thing([(9, 0, 0)], "shoes")})
    query_photos(tmp_path / "queries", {written: [(1, 0, 0)]})
    (tmp_path / "red.png").write_bytes(png((1, 0, 0)))
    (tmp_path / "set.csv").write_text(f"file,label\nred.png,{written}\n")
    for query_set in tmp_path / "queries", tmp_path / "set.csv":
        found = evaluate(fair.config, replace(QUICK, query_set=query_set))
        assert (found.scored, found.unanswerable) == (1, 0)
        assert found.systems[0].scores["P@1"].mean == 1


def test_items_that_an_index_lacks_are_left_aside(open_fair: Opener) -> None:
    items = {key: Thing([(n, 0, 0)], "x") for n, key in enumerate("abcdef")}
    fair = open_fair("color", "mixed")
    fair.build(dict(list(items.items())[:4]))
    fair.offer(items)
    fair.index("color")
    found = evaluate(fair.config, QUICK)
    assert (found.items, found.excluded_items) == (4, 2)
    photo = next(fair.catalog.photos())
    photo.path.unlink()
    found = evaluate(fair.config, QUICK)
    assert (found.items, found.excluded_items) == (3, 3)


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        (things(1, 8, 9), EvaluationOptions("brand"), "no item has a column 'brand'.*category"),
        (things(1, 8, 9), EvaluationOptions(product="brand"), "no item has a column 'brand'"),
        (
            {k: Thing([(n, 0, 0)]) for n, k in enumerate("abc")},
            EvaluationOptions(),
            "has a category; name",
        ),
        ({"a": Thing([(1, 2, 3)], "x")}, EvaluationOptions(), "nothing to find: of 1 queries"),
        (
            {k: Thing([(n, 0, 0)], k) for n, k in enumerate("abc")},
            EvaluationOptions(),
            "of 3 queries none",
        ),
        ({k: Thing([(7, 7, 7)], "x") for k in "abc"}, EvaluationOptions(), "of 3 queries none"),
        (things(1, 8, 9), EvaluationOptions(queries=0), "queries is 0"),
        (things(1, 8, 9), EvaluationOptions(resamples=0), "resamples is 0"),
        (things(1, 8, 9), EvaluationOptions(engines=("sound",)), "unknown engine 'sound'"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(
    open_fair: Opener, items: Things, options: EvaluationOptions, message: str
) -> None:
    fair = open_fair("color")
    fair.build(items)
    with pytest.raises(QueryError, match=message) as raised:
        evaluate(fair.config, options)
    assert "\n" not in str(raised.value)


def test_before_there_is_an_index_there_is_nothing_to_evaluate(open_fair: Opener) -> None:
    with pytest.raises(NotBuiltError, match="imgsearch build"):
        evaluate(open_fair().config)


def test_constant_vectors_rank_by_id(open_fair: Opener) -> None:
    items = things(3, 30, 256)
    fair = open_fair("blind")
    fair.build(items)
    found = evaluate(fair.config, QUICK)
    assert means(found)["blind"] == pytest.approx(by_hand(items, "blind")[0], abs=1e-9)
    assert all(math.isfinite(one.high) for s in found.systems for one in s.scores.values())


def test_one_engine_is_not_fused_and_engines_may_be_chosen(open_fair: Opener) -> None:
    fair = open_fair("color", "mixed")
    fair.build(things(3, 12, 256, "ab"))

    def names(*engines: str) -> list[str]:
        found = evaluate(fair.config, replace(QUICK, engines=engines))
        return [system.name for system in found.systems]

    assert names("mixed") == ["mixed", "pca-16", "random"]
    assert names() == ["color", "mixed", "fused", "pca-16", "random"]


def test_the_evidence_is_what_the_numbers_are_means_of(open_fair: Opener) -> None:
    items = things(11, 30, 256)
    fair = open_fair("color", "mixed")
    fair.build(items)
    evidence = evaluate_detailed(fair.config, QUICK)
    assert evidence.evaluation == evaluate(fair.config, QUICK)
    assert evidence.items is not None
    keys = [fair.catalog.item(item).key for item in evidence.items.tolist()]  # type: ignore[union-attr]
    for at, engine in enumerate(("color", "mixed")):
        _, values = by_hand(items, engine)
        for metric in METRICS:
            assert evidence.of(metric)[:, at].tolist() == pytest.approx(values[metric])
    answerable = [key for key in items if key in keys]
    assert keys == answerable
    assert len(keys) == evidence.evaluation.scored


def test_what_an_engine_was_trained_on_is_told_apart(open_fair: Opener) -> None:
    items = things(11, 40, 256)
    fair = open_fair("color", "mixed")
    fair.build(items)
    assert evaluate(fair.config, QUICK).held_out == {}
    seen = [key for key in items if int(key[-1]) < 6]
    photos = dict(fair.catalog.photo_item_pairs())
    trained = {sha for sha, item in photos.items() if key_of(fair, item) in seen}
    model = Engine("mixed", fair.config).models.current()
    assert model is not None
    rows = np.frombuffer(b"".join(sorted(trained)), np.uint8).reshape(-1, 32)
    file = model.path / "training.npy"
    np.save(file, rows)
    files = model.manifest["files"] | {file.name: {"sha256": sha256_file(file)}}
    write_sealed(model.path / MANIFEST, model.manifest | {"files": files})
    found = evaluate(fair.config, QUICK).held_out
    assert list(found) == ["mixed"]
    shows: dict[int, set[bytes]] = {}
    for sha, item in fair.catalog.photo_item_pairs():
        shows.setdefault(item, set()).add(sha)
    _, values = by_hand(items, "mixed")
    scored = evaluate_detailed(fair.config, QUICK).items
    assert scored is not None
    unseen = [at for at, item in enumerate(scored.tolist()) if not shows[item] & trained]
    assert 0 < len(unseen) < len(scored)
    assert (found["mixed"].trained_on, found["mixed"].queries) == (
        len(scored) - len(unseen),
        len(unseen),
    )
    assert found["mixed"].scores is not None
    for metric in METRICS:
        own = np.mean([values[metric][at] for at in unseen])
        assert found["mixed"].scores[metric].mean == pytest.approx(own)


def key_of(fair: Fair, item: int) -> str:
    record = fair.catalog.item(item)
    assert record is not None
    return record.key


# -- Cost and form ---------------------------------------------------------------------------------


def test_the_cost_of_each_engine_is_measured(open_fair: Opener) -> None:
    fair = open_fair("color", "mixed")
    fair.build(things(3, 30, 256))
    found = evaluate(fair.config)
    assert [one.engine for one in found.costs] == ["color", "mixed"]
    for one in found.costs:
        assert one.embedding.photos_per_second > 0
        assert one.embedding.decoded_per_second > 0
        assert (one.vector_bytes, one.recall_at_10) == (12, 1.0)
        assert one.build_bytes > 30 * 12
        assert 0 < one.lookup_ms < one.query_ms
    assert evaluate(fair.config, QUICK).costs == ()


def test_everything_is_json_and_nothing_is_written(open_fair: Opener) -> None:
    fair = open_fair()
    fair.build(things(3, 12, 9, "ab"))
    before = sorted(fair.config.folder.rglob("*"))
    found = evaluate(fair.config)
    facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert facts["systems"][0]["scores"]["P@1"] == asdict(found.systems[0].scores["P@1"])
    assert facts["label"] == "category"
    assert sorted(fair.config.folder.rglob("*")) == before
