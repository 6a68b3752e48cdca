"""An ONNX file as an embedding model: put into a model folder once, then opened from there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import digest, sha256_file
from pipeline.config import OnnxSettings, expand
from pipeline.errors import WeightsError
from pipeline.models.base import U8Batch
from pipeline.models.onnx_file.interface import data_files, read_graph, read_interface
from pipeline.models.runtimes.base import Network
from pipeline.models.runtimes.onnx import OnnxNetwork, errors
from pipeline.models.runtimes.publish import drawn_photos
from pipeline.models.store import ModelFolder, ModelStore

_FOLDER = "network"  # in a model's folder: the graph points to its weights by their names
Tensor = npt.NDArray[Any]


def embedding(settings: OnnxSettings) -> dict[str, Any]:
    """Return the settings that decide, with the file, what a photo's vector is."""
    return {"version": 1, **settings.model_dump(mode="json", exclude={"file", "sha256"})}


def recipe(settings: OnnxSettings, *, read_file: bool = True) -> dict[str, Any]:
    """Return the settings that decide what the model is; its files count by their SHA-256."""
    file = expand(Path(settings.file))
    origin = {"sha256": settings.sha256} if settings.sha256 else {}
    if read_file and file.is_file():
        origin |= _checksums(file, read_graph(file))
    return {**embedding(settings), **origin}


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
    checksums = _checksums(file, model)
    if settings.sha256 not in (None, checksums["sha256"]):
        hint = "it is another file, or was cut short on its way: get it again"
        raise WeightsError(f"{file} has not this SHA-256", where=f"{key}.sha256", hint=hint)
    interface = read_interface(name, settings, model)
    spec = {**embedding(settings), **vars(interface), "input_size": [*interface.input_size]}
    if interface.dtype == "uint8" and (any(settings.mean) or {*settings.std} != {1.0}):
        hint = "leave mean and std out"
        raise WeightsError("the file takes pixels as they are", where=f"{key}.mean", hint=hint)
    content = {
        "recipe": {**embedding(settings), **checksums},
        "embedding": spec,
        "dim": _dim_on_photos(key, file, spec),
        "weights": digest(checksums),
        "graph": file.name,
    }

    def write(folder: Path) -> None:
        for part, path in {file.name: file, **data_files(file, model)}.items():
            copy = folder / _FOLDER / part
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)

    return store.publish(content, write)


def open_network(folder: ModelFolder) -> Network:
    """Open a model folder that `fetch` has made.

    Raises:
        DamagedArtifactError: its files are not what was published.
    """
    for name in sorted(folder.manifest["files"]):
        folder.check(name)
    return _network(
        folder.path / _FOLDER / folder.manifest["graph"], folder.embedding, (folder.dim,)
    )


def _network(
    file: Path, spec: Mapping[str, Any], shape: tuple[int, ...] | None = None
) -> OnnxNetwork:
    return OnnxNetwork(
        file,
        output=spec["output"],
        before=lambda pixels: scaled(pixels, spec),
        after=lambda output: pooled(output, spec["pooling"], spec["layout"]),
        shape=shape,
    )


def scaled(pixels: U8Batch, spec: Mapping[str, Any]) -> Tensor:
    """(n, h, w, 3) uint8 RGB → what the encoder takes: scaled, in its layout and type."""
    channels = pixels[..., ::-1] if spec["channels"] == "bgr" else pixels
    if spec["dtype"] != "uint8":
        mean, std = (np.array(spec[key], np.float32) for key in ("mean", "std"))
        channels = (channels.astype(np.float32) / np.float32(255) - mean) / std
    arranged = channels.transpose(0, 3, 1, 2) if spec["layout"] == "nchw" else channels
    return np.ascontiguousarray(arranged, dtype=spec["dtype"])


def pooled(output: Tensor, pooling: str, layout: str) -> Tensor:
    """(n, dim), tokens (n, tokens, dim) or maps in a layout → (n, dim) float32.

    Raises:
        ValueError: the output is no vector after this pooling; the text says what it is.
    """
    output = np.asarray(output, np.float32)
    axes: tuple[int, ...] = (1,) if output.ndim == 3 else ()
    if output.ndim == 4:
        axes = (2, 3) if layout == "nchw" else (1, 2)
    if output.ndim not in (2, 3, 4) or (pooling == "none") != (output.ndim == 2):
        raise ValueError(" × ".join(map(str, output.shape)))
    if pooling == "cls":
        if output.ndim == 4:
            raise ValueError(" × ".join(map(str, output.shape)))
        return output[:, 0]
    if not axes:
        return output
    return output.mean(axis=axes) if pooling == "avg" else output.max(axis=axes)


def _dim_on_photos(key: str, file: Path, spec: Mapping[str, Any]) -> int:
    """Run the encoder on drawn photos; return the length of its vectors."""
    height, width = spec["input_size"]
    try:
        vectors = _network(file, spec)(drawn_photos(height, width))
    except ValueError as error:
        fitting = {2: "none", 3: "cls, avg or max"}.get(str(error).count("×") + 1, "avg or max")
        raise WeightsError(
            f"its output is {error} for a photo, no vector by this pooling",
            where=f"{key}.pooling",
            hint=f"give {fitting}",
        ) from error
    except errors() as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"ONNX Runtime cannot run {file}: {reason}"
        raise WeightsError(problem, where=f"{key}.file") from error
    if not np.isfinite(vectors).all():
        raise WeightsError("its vectors are not finite", where=f"{key}.file")
    return int(vectors.shape[1])


def _checksums(file: Path, model: Any) -> dict[str, Any]:
    """SHA-256 of the file, and of each that keeps its weights."""
    data = {part: sha256_file(path) for part, path in data_files(file, model).items()}
    return {"sha256": sha256_file(file), **({"data": data} if data else {})}
