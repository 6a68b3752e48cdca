"""The stem of an autoencoder: the first layers of a pretrained network, which stay as they are.

A network does not learn good convolutions from a few hundred photos, and the first two thirds of a
pretrained network are good ones for photos of any kind (Yosinski et al., How transferable are
features in deep neural networks?, NIPS 2014). They are not trained, so what they give is computed
once for each photo and its mirror image, and training begins behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import replacing
from pipeline.errors import ConfigError
from pipeline.models import applications
from pipeline.models.base import U8Batch
from pipeline.models.keras_runtime import compiled, fresh_names_and_seeds, keras, tf
from pipeline.progress import Advance, ignored

F16Features = npt.NDArray[np.float16]
F32Array = npt.NDArray[np.float32]
FEATURES = "stem_features"
CELLS = 4
"""Along each side, to which the maps of the stem are pooled."""
_BATCH_SIZE = 64


class Stem(NamedTuple):
    """Where a network of `keras.applications` is cut."""

    network: str
    layer: str
    weights: Mapping[str, Sequence[F32Array]] | None = None
    """Of its layers, by name; None: random ones, into which the weights of a model are loaded."""


def build_stem(stem: Stem, size: int) -> Any:
    """Return a `keras.Model`: (n, size, size, 3) float32 in 0..1 → (n, 4, 4, channels).

        build_stem(Stem("MobileNetV2", "block_12_add"), 128)

    Raises:
        ConfigError: there is no such layer, its output is no map or does not divide into 4×4, or
            the network takes no photos of this size.
    """
    where = "stem_layer"
    try:
        network = applications.build(stem.network, size, include_top=False)
    except ValueError as error:
        problem = f"{stem.network} takes no photos of {size}×{size}"
        hint = "choose a larger input_size"
        raise ConfigError(problem, where=where, hint=hint) from error
    names = [layer.name for layer in network.layers]
    if stem.layer not in names:
        hint = f"it has {', '.join(name for name in names if name.endswith(('_add', '_pool')))}"
        raise ConfigError(f"{stem.network} has no layer {stem.layer!r}", where=where, hint=hint)
    output = network.get_layer(stem.layer).output
    side = output.shape[1] if len(output.shape) == 4 else 0
    if not side or side % CELLS:
        raise ConfigError(
            f"{stem.layer!r} gives {tuple(output.shape[1:])} for photos of {size}×{size}, which"
            f" does not divide into {CELLS}×{CELLS} cells",
            where=where,
            hint="choose another layer or input_size, such as 128",
        )
    front = applications.cut(network, output)
    _fill(front, stem)
    image = keras.Input((size, size, 3))
    maps = front(applications.preprocess(stem.network, image * 255.0))
    pooled = keras.layers.AveragePooling2D(side // CELLS)(maps)
    model = keras.Model(image, pooled, name="stem")
    model.trainable = False
    return model


def check_stem(engine: str, stem: Stem, size: int) -> None:
    """Check that a stem can be built, before anything takes its time.

    Raises:
        ConfigError: as `build_stem`, naming the engine's setting.
    """
    with fresh_names_and_seeds():
        try:
            build_stem(stem, size)
        except ConfigError as error:
            where = f"engines.{engine}.stem_layer"
            raise ConfigError(error.message, where=where, hint=error.hint) from None


def _fill(front: Any, stem: Stem) -> None:
    """Give the layers their weights."""
    if stem.weights is None:
        return
    for layer in front.layers:
        if not layer.weights:
            continue
        if layer.name not in stem.weights:
            raise ConfigError(
                f"the teacher's network is cut before {stem.layer!r}",
                where="stem_layer",
                hint="choose a layer before the teacher's own",
            )
        layer.set_weights(stem.weights[layer.name])


def compute_features(
    stem: Any, photos: U8Batch, file: Path, advance: Advance = ignored
) -> F16Features:
    """Compute what a stem gives for each photo and its mirror image, unless `file` has it.

    `photos` is (n, size, size, 3) uint8. Returns (n, 2, 4 · 4 · channels) float16, mapped from the
    file. `advance` is told the number of photos of each batch.

        compute_features(build_stem(stem, 128), photos, folder / "training.npy")
    """
    shape = (len(photos), 2, int(np.prod(stem.output_shape[1:])))
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        with replacing(file) as unfinished:
            array = np.lib.format.open_memmap(unfinished, "w+", np.float16, shape)
            _write(stem, photos, array, advance)
            array.flush()
    features: F16Features = np.load(file, mmap_mode="r", allow_pickle=False)
    return features


def _write(stem: Any, photos: U8Batch, array: F16Features, advance: Advance) -> None:
    def both(pixels: Any) -> Any:
        photos_ = tf.cast(pixels, tf.float32) / 255.0
        found = stem(tf.concat([photos_, photos_[:, :, ::-1]], 0), training=False)
        return tf.reshape(found, (2, -1, array.shape[2]))

    compute = compiled(both, photos.shape[1:], tf.uint8)
    for start in range(0, len(photos), _BATCH_SIZE):
        part = photos[start : start + _BATCH_SIZE]
        array[start : start + len(part)] = np.swapaxes(np.asarray(compute(part)), 0, 1)
        advance(len(part))
