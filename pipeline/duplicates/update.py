"""The photos of a catalog that are new → their signatures, and links to what they are copies of."""

from __future__ import annotations

import numpy as np

from pipeline.catalog.catalog import Catalog, Photo
from pipeline.catalog.photos import read
from pipeline.concurrency import ordered_map
from pipeline.duplicates.finding import find_links
from pipeline.duplicates.hamming import Rows
from pipeline.duplicates.signature import Signatures, sign
from pipeline.duplicates.store import DuplicateStore, KnownPhotos, none_known
from pipeline.embeddings.arrays import find_rows, to_hashes
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.progress import SILENT, Progress

READ_AHEAD = 64  # photos


def update_duplicates(
    catalog: Catalog,
    store: DuplicateStore,
    limits: ImageLimits,
    decoders: int,
    progress: Progress = SILENT,
) -> None:
    """Compare the photos that are new with all others, and keep what was found.

    It costs by the items that have changed since the last time, and their photos. A photo that can
    no longer be read is left out, and is a near-duplicate of none.

    Raises:
        DamagedArtifactError: what was kept is not what was written.
        OSError: the disk is bad.
    """
    generation = catalog.seal_generation()
    known = store.read() or none_known()
    if known.generation == generation:
        return
    new = sign_new(catalog, known, limits, decoders, progress)
    photos = store.extend(known, new)
    found = _compared(photos, len(known.label), progress)
    store.seal(len(photos.label), found, generation)


def look(
    catalog: Catalog,
    store: DuplicateStore,
    limits: ImageLimits,
    decoders: int,
    progress: Progress = SILENT,
) -> KnownPhotos:
    """Return what `update_duplicates` would keep, and keep nothing."""
    known = store.read() or none_known()
    new = sign_new(catalog, known, limits, decoders, progress)
    if not len(new.codes):
        return known
    photos = known.with_new(new)
    _compared(photos, len(known.label), progress)
    return photos


def _compared(photos: KnownPhotos, first: int, progress: Progress) -> Rows:
    """Compare the photos from row `first` on with all others; return their links."""
    new = len(photos.label) - first
    if not new:
        return np.empty((0, 2), np.int64)
    with progress.task("comparing photos", new, "photos") as advance:
        return find_links(photos, first, advance)


def sign_new(
    catalog: Catalog, known: KnownPhotos, limits: ImageLimits, decoders: int, progress: Progress
) -> Signatures:
    """Return the signatures of the available photos that are not known yet."""
    is_kept = known.generation in catalog.sealed_generations()
    photos = list(catalog.photos(catalog.changed_items(known.generation) if is_kept else None))
    hashes = to_hashes(b"".join(photo.sha256 for photo in photos))
    is_new = find_rows(known.signatures.photos, hashes) < 0
    wanted = [photo for photo, new in zip(photos, is_new.tolist(), strict=True) if new]

    def signed(photo: Photo) -> Signatures | None:
        try:
            return sign(photo.sha256, read(photo, limits))
        except RejectedImage:
            return None

    parts = []
    with progress.task("looking at photos", len(wanted), "photos") as advance:
        for signature in ordered_map(signed, wanted, decoders, READ_AHEAD):
            if signature is not None:
                parts.append(signature)
            advance(1)
    return Signatures.join(parts)
