"""What evaluating costs in a large gallery: no more than a look at each photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.catalog.catalog import Photo
from pipeline.evaluation import baselines
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.pixels import Pixels, Preprocessing
from tests.conftest import Shop


class Known(set[bytes]):
    """Photos that can be looked up, and cannot be listed: there are too many, for each item."""

    def __iter__(self) -> None:  # type: ignore[override]
        raise AssertionError("all photos are listed")


def test_a_gallery_lists_no_photos_but_those_of_its_items(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(2, 0, 0), (3, 0, 0)], "c": [(4, 0, 0)]})
    pairs = list(shop.catalog.photo_item_pairs())
    ids = {key: shop.id_of(key) for key in "abc"}
    photos = {key: [photo for photo, item in pairs if item == ids[key]] for key in "abc"}
    readable = [Known([*photos["a"], photos["b"][1]]), Known([photos["b"][0], *photos["c"]])]
    labels = {item: key for key, item in ids.items()}
    gallery = Gallery.of(shop.catalog, labels, {}, [np.array([*ids.values()])], readable)
    assert gallery.items.tolist() == [ids["b"]]


@pytest.mark.parametrize(("limit", "fitted"), [(7, 7), (20, 20), (99, 20)])
def test_components_are_fitted_to_a_sample_of_many_photos(
    monkeypatch: pytest.MonkeyPatch, limit: int, fitted: int
) -> None:
    rng = np.random.default_rng(4)
    names = [bytes([n]) * 32 for n in range(30)]
    pixels = Pixels([Photo(n, name, Path()) for n, name in enumerate(names)], photos(rng))
    shown = [[name] for name in names[:20]]
    gallery = Gallery(np.arange(20), [""] * 20, shown, [[]] * 20)
    used: list[list[int]] = []
    read = baselines.pixel_vectors

    def noted(rows: np.ndarray, chosen: np.ndarray | None = None) -> object:
        used.extend([] if chosen is None else [chosen.tolist()])
        return read(rows, chosen)

    monkeypatch.setattr(baselines, "pixel_vectors", noted)
    preprocessing = Preprocessing((4, 4), "bilinear")
    found = baselines.pca_retriever(gallery, pixels, preprocessing, 3, 7, max_fitted=limit)
    assert found.gallery.count == 20
    assert all(rows == used[0] == sorted(set(rows)) for rows in used)
    assert len(used[0]) == fitted
    assert set(used[0]) <= set(range(20))


def photos(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (30, 4, 4, 3), np.uint8)
