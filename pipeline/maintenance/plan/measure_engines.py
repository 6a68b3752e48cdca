"""Measure the engines of a catalog: how long their networks take, and how their vectors lie."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice

import numpy as np
from PIL import Image

from pipeline import images, models
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.photos import read
from pipeline.config import Config
from pipeline.engine import Engine, image_limits
from pipeline.errors import NotBuiltError, RejectedImage
from pipeline.index import open_build, pca
from pipeline.index.base import F32Matrix
from pipeline.index.bounds import PCA_ITERATIONS, RESIDUAL_COPIES, choose_length
from pipeline.index.code_filter import SAMPLE_ROWS, Clustering, spread_rows
from pipeline.index.pruned import DEFAULTS, max_code_length
from pipeline.maintenance.plan.networks import TYPICAL_SIDE
from pipeline.maintenance.plan.speeds import EngineSpeed
from pipeline.models.base import U8Batch

PHOTOS = 40
SECONDS = 2.0  # for which each network is given photos
MAX_WIDTH = 1024  # of codes that are tried: longer ones are seldom of use
ROWS = (20_000, 50_000, 100_000, 300_000, 1_000_000, 10_000_000)


def decode_seconds(config: Config) -> float:
    """Return the seconds of a core to read a photo: of the catalog's, or of one that is drawn."""
    began, count = time.process_time(), 0
    with suppress(NotBuiltError), Catalog(config.folder) as catalog:
        for photo in islice(catalog.photos(), PHOTOS):
            with suppress(RejectedImage):
                _resize(read(photo, image_limits(config)))
                count += 1
    if not count:
        data, began = _drawn(), time.process_time()
        for count in range(1, PHOTOS + 1):  # noqa: B007 (it is counted)
            _resize(images.decode(data, image_limits(config)))
    return max((time.process_time() - began) / count, 1e-6)


def engine_speed(name: str, config: Config) -> EngineSpeed | None:
    """Return what an engine takes; None if it has no model yet.

    Raises:
        DamagedArtifactError: its model or its index is not what was written.
    """
    engine = Engine(name, config)
    try:
        folder = engine.model
    except NotBuiltError:
        return None
    build = engine.builds.current()
    lengths: dict[int, int] = {}
    if build is not None and build.fingerprint == folder.fingerprint:
        with closing(open_build(build, exact=True)) as index:
            if index.rows >= DEFAULTS.min_coded_rows:
                lengths = code_lengths(index.vectors(spread_rows(index.rows, SAMPLE_ROWS)))
    if engine.is_derived:
        return EngineSpeed(folder.dim, code_lengths=lengths)
    model = models.load(name, folder)
    pixels = np.random.default_rng(0).integers(
        0, 256, (config.embedding.batch_size, *model.input_size, 3), np.uint8
    )
    return EngineSpeed(
        folder.dim,
        _seconds_each(model.encode, pixels),
        _seconds_each(model.encode, pixels[:1]),
        lengths,
    )


def code_lengths(sample: F32Matrix) -> dict[int, int]:
    """(n, dim) vectors of a catalog → rows of a larger one: how long its codes would be.

    It is chosen as `bounds.fit` does when an index is written.
    """
    dim = sample.shape[1]
    limits = {n: max_code_length(n, dim, Clustering.coarse(n).clusters) for n in ROWS}
    width = min(max(limits.values()), MAX_WIDTH) - RESIDUAL_COPIES
    if width <= 0:
        return dict.fromkeys(ROWS, 0)
    wide = sample.astype(np.float64)
    fitted = pca.fit(lambda: [wide], width, oversampling=0, iterations=PCA_ITERATIONS)
    centered = wide - fitted.mean
    found = {n: choose_length(centered, fitted.components, n) or 0 for n in ROWS}
    return {n: min(length, max(limits[n], 0)) for n, length in found.items()}


def _seconds_each(encode: Callable[[U8Batch], F32Matrix], pixels: U8Batch) -> float:
    """Seconds of a core for a photo, in batches of as many as there are."""
    encode(pixels)
    began, until, count = time.process_time(), time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        encode(pixels)
        count += len(pixels)
    return max((time.process_time() - began) / count, 1e-9)


def _resize(photo: Image.Image) -> None:
    images.resize(photo, (TYPICAL_SIDE, TYPICAL_SIDE), "bicubic")


def _drawn() -> bytes:
    """A JPEG file of 500×500 pixels."""
    values = np.random.default_rng(0).normal(0, 1, (25, 25, 3)).cumsum(axis=0)
    small = Image.fromarray(np.uint8(np.clip(128 + 20 * values, 0, 255)))
    file = io.BytesIO()
    small.resize((500, 500), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()
