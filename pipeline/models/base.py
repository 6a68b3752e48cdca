"""What an embedding model is, and the one way in which Keras networks become one."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import images
from pipeline.artifacts import damaged
from pipeline.cache_dirs import redirect_cache_dirs
from pipeline.images import U8Image
from pipeline.models.store import ModelFolder

U8Batch = npt.NDArray[np.uint8]
F32Matrix = npt.NDArray[np.float32]

VARIANCE_EPS = 1e-3
"""Added to a photo's variance, so that one of a single color has a share to lose of, too."""


class EmbeddingModel(Protocol):
    """Turns photos into vectors; catalog and query go through the same two steps."""

    @property
    def name(self) -> str:
        """The engine's name."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the pixels that it takes."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever a photo would get another vector."""
        ...

    def prepare(self, image: Image.Image) -> U8Image:
        """Any RGB image → (height, width, 3) uint8, as the network takes it."""
        ...

    def encode(self, pixels: U8Batch) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, dim) float32, C-contiguous."""
        ...

    def reconstruction_errors(self, pixels: U8Batch) -> F32Matrix | None:
        """(n, height, width, 3) uint8 → (n, 2) float32: what rebuilding loses, two measures.

        The mean squared error, pixels being 0..1, and that as a share of the variance of the
        photo's own pixels: noise, seen from afar, is plain gray, of which all is lost but little.
        None if it rebuilds nothing.
        """
        ...


@dataclass(frozen=True)
class KerasModel:
    """An embedding model that is a Keras network, from raw pixels to the vector."""

    name: str
    dim: int
    input_size: tuple[int, int]
    fingerprint: str
    resize: str
    normalize: bool
    network: Any = field(repr=False)
    """A `keras.Model`: (n, h, w, 3) float32 in 0..255 → (n, dim) float32."""
    rebuild: Any = field(default=None, repr=False)
    """A `keras.Model`: (n, h, w, 3) float32 in 0..1 → the same; None if it rebuilds nothing."""
    _encode: Callable[[U8Batch], Any] = field(init=False, repr=False)
    _reconstruction_errors: Callable[[U8Batch], Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        tf = import_tensorflow()

        def encode(pixels: Any) -> Any:
            return self.network(tf.cast(pixels, tf.float32), training=False)

        def reconstruction_errors(pixels: Any) -> Any:
            photos = tf.cast(pixels, tf.float32) / 255.0
            rest = tf.square(self.rebuild(photos, training=False) - photos)
            variance = tf.reduce_mean(tf.math.reduce_variance(photos, axis=(1, 2)), axis=1)
            error = tf.reduce_mean(rest, axis=(1, 2, 3))
            return tf.stack([error, error / (variance + VARIANCE_EPS)], axis=1)

        # Traced at their first call: what is never asked for costs nothing.
        signature = [tf.TensorSpec((None, *self.input_size, 3), tf.uint8)]
        compiled = {"input_signature": signature, "autograph": False}
        object.__setattr__(self, "_encode", tf.function(encode, **compiled))
        object.__setattr__(
            self, "_reconstruction_errors", tf.function(reconstruction_errors, **compiled)
        )

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
        """(n, height, width, 3) uint8 → (n, 2) float32: what rebuilding loses, two measures.

        The mean squared error, pixels being 0..1, and that as a share of the variance of the
        photo's own pixels: noise, seen from afar, is plain gray, of which all is lost but little.
        None if it rebuilds nothing.
        """
        return (
            None
            if self.rebuild is None
            else np.array(self._reconstruction_errors(pixels), np.float32)
        )


def import_keras() -> Any:
    """Import Keras on TensorFlow, quietly, leaving nothing in the user's home."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    redirect_cache_dirs()
    if "keras" in sys.modules:
        return sys.modules["keras"]
    with _native_stderr_held():
        import keras
    return keras


def import_tensorflow() -> Any:
    """Import TensorFlow as quietly as Keras."""
    import_keras()
    import tensorflow

    # Ampere GPUs would multiply in 10 bits of precision: other vectors than a CPU's.
    tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    return tensorflow


@contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Hold back what native code writes to stderr, and show it only if the block fails.

    While TensorFlow is loaded its C++ side logs that there is no GPU and which instructions it
    uses, heeding no setting until it is loaded (TensorFlow issue 100442).
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


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
        OSError: there is no room for them. HDF5 finds out too late to say so in one line.
    """
    size = sum(weight.nbytes for weight in network.get_weights()) + 2**20
    if shutil.disk_usage(file.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
    network.save_weights(file)


def load_weights(network: Any, folder: ModelFolder) -> None:
    """Fill a network with a model folder's weights.

    Raises:
        DamagedArtifactError: the file does not fit the network, or holds other weights than those
            that the model's fingerprint was computed from.
    """
    file = folder.weights_file
    try:
        network.load_weights(file)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise damaged(file, "its weights cannot be read, or do not fit the network") from error
    if weights_digest(network) != folder.manifest["weights"]:
        raise damaged(file, "these are not the weights that its manifest names")
