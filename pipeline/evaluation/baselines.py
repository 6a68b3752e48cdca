"""What any engine has to beat: a few numbers of PCA of the pixels, and no order at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Photo
from pipeline.evaluation import pca
from pipeline.evaluation.gallery import Gallery, QuerySet
from pipeline.evaluation.pixels import Pixels
from pipeline.evaluation.retriever import Retriever

F32Matrix = npt.NDArray[np.float32]

_NUMBERS = 16  # in a random vector


def pca_space(
    gallery: Gallery,
    questions: QuerySet,
    pixels: Pixels,
    decoded: Callable[[Sequence[Photo]], Pixels],
    count: int,
    seed: int,
) -> Retriever:
    """Rank by `count` principal components of the pixels, fitted to the gallery's photos.

    `decoded` turns photos that are no items' into pixels of the same size.
    """
    rows = pixels.row_of()
    used = {rows[photo] for photos in gallery.photos for photo in photos if photo in rows}
    fitted = pca.fit(pixels.rows, np.array(sorted(used)), count, seed)

    def vectors(photos: Sequence[Photo]) -> F32Matrix:
        asked = decoded(photos).rows
        return fitted.project(asked, np.arange(len(asked)))

    own = fitted.project(pixels.rows, np.arange(len(pixels.rows)))
    shown = gallery.shown(own.__getitem__, rows)
    return Retriever(f"pca-{count}", "baseline", shown, questions.shown(shown, vectors))


def random_space(gallery: Gallery, questions: QuerySet, pixels: Pixels, seed: int) -> Retriever:
    """Rank by vectors drawn at random, one a photo: what to expect of no order."""
    random = np.random.default_rng(seed)

    def drawn(photos: Sequence[Photo]) -> F32Matrix:
        return random.standard_normal((len(photos), _NUMBERS), np.float32)

    shown = gallery.shown(drawn(pixels.photos).__getitem__, pixels.row_of())
    return Retriever("random", "baseline", shown, questions.shown(shown, drawn))
