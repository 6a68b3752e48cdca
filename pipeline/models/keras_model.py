"""A Keras network as an embedding model, and its weights on disk."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import images
from pipeline.artifacts import damaged, replacing
from pipeline.images import U8Image
from pipeline.models.base import VARIANCE_EPS, F32Matrix, F64Matrix, Ids, U8Batch
from pipeline.models.keras_runtime import Compiled, compiled, tf
from pipeline.models.store import WEIGHTS, ModelFolder
from pipeline.progress import Advance, ignored


class KerasModel:
    """An embedding model that is a Keras network, from raw pixels to the vector.

    `network` is a `keras.Model` with the weights of `folder`, (n, h, w, 3) float32 in 0..255 →
    (n, dim) float32; `rebuild` is (n, h, w, 3) float32 in 0..1 → the same, if it rebuilds photos.
    """

    def __init__(
        self, name: str, folder: ModelFolder, network: Any, rebuild: Compiled | None = None
    ) -> None:
        spec = folder.embedding
        self.name, self.dim, self.fingerprint = name, folder.dim, folder.fingerprint
        self.input_size: tuple[int, int] = (spec["input_size"], spec["input_size"])
        self.resize, self.normalize = spec["resize"], spec["normalize"]
        self.network, self.rebuild = network, rebuild

        def encode(pixels: Any) -> Any:
            return network(tf.cast(pixels, tf.float32), training=False)

        self._encode = compiled(encode, (*self.input_size, 3), tf.uint8)

    def prepare(self, image: Image.Image) -> U8Image:
        """Any RGB image → (height, width, 3) uint8, resized without keeping the aspect ratio."""
        return images.resize(image, self.input_size, self.resize)

    def encode(self, pixels: U8Batch) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, dim) float32, C-contiguous, unit length if normalized.

        A vector of zeros has no direction and stays as it is.
        """
        vectors: F32Matrix = np.array(self._encode(pixels), dtype=np.float32, order="C")
        if self.normalize:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(norms > 0, norms, np.float32(1))
        return vectors

    def reconstruction_errors(self, pixels: U8Batch) -> F32Matrix | None:
        """The function `reconstruction_errors`; None if the model rebuilds no photos."""
        if self.rebuild is None:
            return None
        return reconstruction_errors(self.rebuild, pixels).astype(np.float32)


def reconstruction_errors(
    rebuild: Compiled,
    photos: U8Batch,
    rows: Ids | None = None,
    *,
    batch_size: int = 64,
    advance: Advance = ignored,
) -> F64Matrix:
    """Rebuild photos and measure how far they are off: (n, h, w, 3) uint8 → (n, 2) float64.

    The columns are the mean squared error, pixels being 0..1, and the same divided by the variance
    of the photo's pixels (plus `VARIANCE_EPS`). The latter tells apart noise, whose rebuilt photo
    is plain gray: its error is small, but all of its variance is lost. Only `rows` of the photos
    are rebuilt, if given. Memory holds one batch.

        errors = reconstruction_errors(model.rebuild, pixels)
    """
    rows = np.arange(len(photos)) if rows is None else rows
    batches = [np.empty((0, 2))]
    for start in range(0, len(rows), batch_size):
        pixels = photos[rows[start : start + batch_size]].astype(np.float32) / np.float32(255)
        difference = np.asarray(rebuild(pixels)) - pixels
        error = np.square(difference).mean(axis=(1, 2, 3), dtype=np.float64)
        variance = pixels.var(axis=(1, 2), dtype=np.float64).mean(axis=1)
        batches.append(np.column_stack([error, error / (variance + VARIANCE_EPS)]))
        advance(len(pixels))
    return np.concatenate(batches)


def to_uint8(photos: npt.NDArray[np.floating[Any]]) -> U8Batch:
    """Pixels of about 0..1 → uint8, rounded to the nearest."""
    pixels: U8Batch = np.rint(np.clip(photos, 0, 1) * 255).astype(np.uint8)
    return pixels


def weights_digest(network: Any) -> str:
    """SHA-256 over a Keras network's weights in their order: shapes, types and values."""
    sha256 = hashlib.sha256()
    for array in network.get_weights():
        sha256.update(f"{array.shape}{array.dtype}".encode())
        sha256.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return sha256.hexdigest()


def save_weights(network: Any, file: Path) -> None:
    """Write a network's weights in Keras's format, `….weights.h5`.

    Raises:
        OSError: they cannot be written. They are put together in memory: HDF5 crashes after an
            error of the disk.
    """
    from keras.src.saving import saving_lib  # Keras's public functions write to paths only

    data = io.BytesIO()
    store = saving_lib.H5IOStore(data, mode="w")
    saving_lib._save_state(
        network, weights_store=store, assets_store=None, inner_path="", visited_saveables=set()
    )
    store.close()
    with replacing(file) as unfinished:
        unfinished.write_bytes(data.getbuffer())


def load_weights(network: Any, folder: ModelFolder) -> None:
    """Fill a network with a model folder's weights.

    Raises:
        DamagedArtifactError: the file does not fit the network, or holds other weights than those
            that the model's fingerprint was computed from.
        OSError: it cannot be opened.
    """
    file = folder.check(WEIGHTS)
    try:
        network.load_weights(file)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:  # of the disk: HDF5's own have no number
            raise
        raise damaged(file, "its weights cannot be read, or do not fit the network") from error
    if weights_digest(network) != folder.manifest["weights"]:
        raise damaged(file, "these are not the weights that its manifest names")
