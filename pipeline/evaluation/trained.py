"""What engines learned of the catalog that they are judged on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.models.projection import learned_label, trained_photos
from pipeline.search.engine_searcher import EngineSearcher


class Trained(NamedTuple):
    """What an engine knows of the catalog."""

    photos: set[bytes]
    """SHA-256 of those that it was trained on."""
    learned: tuple[str, str] | None = None
    """The column whose values it learned, and the engine by whose vectors, if it did."""


def trained_on(searcher: EngineSearcher) -> Trained:
    """Return what an engine's model was trained on: `trained_on(searcher).photos`."""
    folder = searcher.model_folder
    return Trained(trained_photos(folder), learned_label(folder))


def label_photos(trained: Iterable[Trained]) -> set[bytes]:
    """Return the photos whose labels any of some engines learned: with these, it is flattered."""
    return set().union(*(one.photos for one in trained if one.learned))
