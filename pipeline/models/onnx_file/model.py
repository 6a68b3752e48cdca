"""An ONNX file as an embedding model: put into a model folder once, then opened from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import digest
from pipeline.config import OnnxSettings, expand
from pipeline.errors import WeightsError
from pipeline.models.base import U8Batch
from pipeline.models.onnx_file.interface import checksums, copy_network, read_graph, read_interface
from pipeline.models.onnx_file.text_tower import check_tower, copy_tower, text_recipe
from pipeline.models.runtimes.base import Network
from pipeline.models.runtimes.onnx import OnnxNetwork, errors
from pipeline.models.store import ModelFolder, ModelStore

_POOLINGS = {2: ("none",), 3: ("cls", "avg", "max"), 4: ("avg", "max")}  # by dimensions
_FOLDER = "network"  # in a model's folder: the graph points to its weights by their names
Tensor = npt.NDArray[Any]


def embedding(settings: OnnxSettings) -> dict[str, Any]:
    """Return the settings that decide, with the file, what a photo's vector is."""
    return {"version": 1, **settings.model_dump(mode="json", exclude={"file", "sha256", "text"})}


def recipe(settings: OnnxSettings, *, read_file: bool = True) -> dict[str, Any]:
    """Return the settings that decide what the model is; its files count by their SHA-256."""
    file = expand(Path(settings.file))
    origin: dict[str, Any] = {"sha256": settings.sha256} if settings.sha256 else {}
    if read_file and file.is_file():
        origin |= checksums(file, read_graph(file))
    if settings.text is not None:
        origin |= text_recipe(settings.text, read_file=read_file)
    return {**embedding(settings), "weights": "file", **origin}


def fetch(name: str, settings: OnnxSettings, store: ModelStore) -> ModelFolder:
    """Check a file, try it on drawn photos, and publish a model folder with a copy of it.

        model = fetch("clip", settings, ModelStore(folder))

    Raises:
        WeightsError: there is no such file, or it is no image encoder that can be used.
    """
    key = f"engines.{name}"
    file = expand(Path(settings.file))
    if not file.is_file():
        raise WeightsError(f"there is no file {file}", where=f"{key}.file", hint="give its path")
    model = read_graph(file)
    origin = checksums(file, model)
    if settings.sha256 not in (None, origin["sha256"]):
        hint = "it is another file, or was cut short on its way: get it again"
        raise WeightsError(f"{file} has not this SHA-256", where=f"{key}.sha256", hint=hint)
    interface = read_interface(name, settings, model)
    spec = {**embedding(settings), **vars(interface), "input_size": [*interface.input_size]}
    if interface.dtype == "uint8" and (any(settings.mean) or {*settings.std} != {1.0}):
        hint = "leave mean and std out"
        raise WeightsError("the file takes pixels as they are", where=f"{key}.mean", hint=hint)
    content = {
        "recipe": recipe(settings),
        "embedding": spec,
        "dim": (dim := _dim_on_photos(key, file, spec)),
        "weights": digest(origin),
        "graph": file.name,
    }
    if settings.text is not None:
        is_normalized = settings.normalize
        content["text"] = check_tower(name, settings.text, dim, is_normalized=is_normalized)

    def write(folder: Path) -> None:
        copy_network(file, model, folder / _FOLDER)
        if settings.text is not None:
            copy_tower(settings.text, folder)

    return store.publish(content, write)


def open_network(folder: ModelFolder) -> Network:
    """Open a model folder that `fetch` has made.

    Raises:
        DamagedArtifactError: its files are not what was published.
    """
    for name in sorted(folder.manifest["files"]):
        if name.startswith(f"{_FOLDER}/"):
            folder.check(name)
    spec = folder.embedding
    return OnnxNetwork(
        folder.path / _FOLDER / folder.manifest["graph"],
        output=spec["output"],
        before=lambda pixels: scaled(pixels, spec),
        after=lambda output: pooled(output, spec["pooling"], spec["layout"]),
        shape=(folder.dim,),
    )


def scaled(pixels: U8Batch, spec: Mapping[str, Any]) -> Tensor:
    """(n, h, w, 3) uint8 RGB → what the encoder takes: scaled, in its layout and type."""
    tensor: Tensor = pixels[..., ::-1] if spec["channels"] == "bgr" else pixels
    if spec["dtype"] != "uint8":
        mean, std = (np.array(spec[key], np.float32) for key in ("mean", "std"))
        tensor = (tensor.astype(np.float32) / np.float32(255) - mean) / std
    if spec["layout"] == "nchw":
        tensor = tensor.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(tensor, dtype=spec["dtype"])


def pooled(output: Tensor, pooling: str, layout: str) -> Tensor:
    """(n, dim), tokens (n, tokens, dim) or maps in a layout → (n, dim) float32.

    Raises:
        ValueError: this pooling makes no vector of that.
    """
    if pooling not in _POOLINGS.get(output.ndim, ()):
        raise ValueError(f"no {pooling} pooling of {output.ndim} dimensions")
    output = output.astype(np.float32, copy=False)
    if pooling == "none":
        return output
    if pooling == "cls":
        return np.ascontiguousarray(output[:, 0])
    axes = {3: (1,), 4: (2, 3) if layout == "nchw" else (1, 2)}[output.ndim]
    vectors: Tensor = output.mean(axes) if pooling == "avg" else output.max(axes)
    return vectors


def _dim_on_photos(key: str, file: Path, spec: Mapping[str, Any]) -> int:
    """Run the encoder on drawn photos; return the length of its vectors."""
    from pipeline.models.runtimes.publish import drawn_photos

    shapes: list[tuple[int, ...]] = []

    def pool(output: Tensor) -> Tensor:
        shapes.append(output.shape)
        return pooled(output, spec["pooling"], spec["layout"])

    try:
        network = OnnxNetwork(
            file, output=spec["output"], before=lambda pixels: scaled(pixels, spec), after=pool
        )
        vectors = network(drawn_photos(*spec["input_size"]))
    except ValueError as error:
        fitting = _POOLINGS.get(len(shapes[0]))
        raise WeightsError(
            f"the output {spec['output']!r} is {' × '.join(map(str, shapes[0]))} for a photo",
            where=f"{key}.pooling" if fitting else f"{key}.output",
            hint=f"give {' or '.join(fitting)}" if fitting else "give one that can be a vector",
        ) from error
    except errors() as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"ONNX Runtime cannot run it: {reason}", where=file) from error
    if not np.isfinite(vectors).all():
        raise WeightsError("its vectors are not finite", where=file)
    return int(vectors.shape[1])
