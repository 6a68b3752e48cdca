"""What a catalog that there is says of a larger one like it: photos and bytes of an item."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from pipeline.catalog.catalog import Catalog, State
from pipeline.config import Config, FolderSettings
from pipeline.config.schema import LEDGER, LEDGER_COPY
from pipeline.errors import NotBuiltError
from pipeline.maintenance.info import size_on_disk

MIN_ITEMS = 1000  # that say how large others are
LEDGER_BYTES = 2200  # of an item with one photo and a few columns: the ledger and its copy
PHOTO_BYTES = 12_000  # of a JPEG file of 250×250
DUPLICATE_BYTES = 1700  # of a photo's signature


@dataclass(frozen=True)
class CatalogFacts:
    """Of the items of a catalog, or of any where there are too few."""

    items: int = 0
    """How many there are."""
    photos_per_item: float = 1.0
    """Distinct ones."""
    ledger_bytes: float = LEDGER_BYTES
    """For an item."""
    photo_bytes: float = PHOTO_BYTES
    """For a photo that is kept here; 0 where photos stay where they are."""


def catalog_facts(config: Config) -> CatalogFacts:
    """Look at the catalog of some settings: `catalog_facts(config).photos_per_item`."""
    keeps_photos = not isinstance(config.source, FolderSettings)
    photo_bytes: float = PHOTO_BYTES if keeps_photos else 0
    items = photos = 0
    with suppress(NotBuiltError), Catalog(config.folder) as catalog:
        items, photos = (
            sum(catalog.counts().get(State.AVAILABLE, {}).values()),
            catalog.photo_count(),
        )
    if items < MIN_ITEMS or not photos:
        return CatalogFacts(items, photo_bytes=photo_bytes)
    ledger = sum(size_on_disk(config.folder / name) for name in (LEDGER, LEDGER_COPY))
    if keeps_photos:
        photo_bytes = size_on_disk(config.folder / "images") / photos
    return CatalogFacts(items, photos / items, ledger / items, photo_bytes)
