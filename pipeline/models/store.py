"""Model folders: `model/<id>/` holds weights and a manifest; `model/CURRENT` names one."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import (
    MANIFEST,
    Manifest,
    damaged,
    digest,
    publish,
    read_manifest,
    remove,
    write_atomic,
)
from pipeline.errors import DamagedArtifactError
from pipeline.integrity import check_published, read_current, read_published

Number = TypeVar("Number", np.uint8, np.float32)

WEIGHTS = "model.weights.h5"
ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
"""The exported network; and, of an autoencoder, what rebuilds photos from vectors."""
CHAIN = "chain.json"
"""What ncnn needs beside the weights, if the encoder is a chain of 3×3 convolutions."""
RECONSTRUCTION_ERRORS = "reconstruction_errors.npy"
HISTORY, LOSS_PICTURE, PHOTOS_PICTURE = "history.json", "loss.png", "photos.png"
FOR_PEOPLE = frozenset({HISTORY, LOSS_PICTURE, PHOTOS_PICTURE})
"""Files that no vector depends on: without them a model is as good as before."""


@dataclass(frozen=True)
class ModelFolder:
    """A complete model on disk."""

    path: Path
    manifest: Manifest

    @property
    def engine(self) -> str:
        """The engine whose model it is, by where it lies."""
        return self.path.parents[1].name

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The settings that the model was made by."""
        return dict(self.manifest["recipe"])

    @property
    def embedding(self) -> Mapping[str, Any]:
        """The part of the settings that decides what a photo's vector is."""
        return dict(self.manifest["embedding"])

    def is_made_by(self, recipe: Mapping[str, Any]) -> bool:
        """Whether its manifest contradicts none of these settings.

        It may say more than they do: the checksum of a file that is no longer there.
        """
        return recipe.items() <= self.recipe.items()

    @property
    def dim(self) -> int:
        """The length of its vectors."""
        return int(self.manifest["dim"])

    @property
    def is_normalized(self) -> bool:
        """Whether its vectors are directions, of unit length: a vector of zeros is none then."""
        return bool(self.embedding.get("normalize") or self.embedding.get("keeps_zeros"))

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the pixels that it takes."""
        size = self.embedding["input_size"]
        height, width = size if isinstance(size, list) else (size, size)
        return height, width

    @property
    def weights_file(self) -> Path:
        """Weights, in Keras's format."""
        return self.path / WEIGHTS

    def read(self, name: str) -> bytes:
        """Read a small file of it; raises as `integrity.read_published` does."""
        return read_published(self.path, self.manifest, name)

    def check_needed(self) -> None:
        """Compare all files with their checksums, but for those that only people look at."""
        for name in sorted(self.manifest["files"].keys() - FOR_PEOPLE):
            self.check(name)

    def check(self, name: str) -> Path:
        """Compare a large file of it with its checksum; raises as `integrity.check_published`."""
        return check_published(self.path, self.manifest, name)

    @property
    def has_random_weights(self) -> bool:
        """Whether its weights were drawn at random and never trained."""
        return bool(self.manifest.get("random_weights", False))

    @property
    def fingerprint(self) -> str:
        """Names the model: its architecture, weights, layer and how photos are prepared for it.

        Not what computes it: all runtimes agree on its vectors, as was checked when it was made.
        """
        return digest([self.embedding, self.manifest["weights"]])

    def photos(self, part: str) -> npt.NDArray[np.uint8]:
        """(n, 32) uint8: SHA-256 of the `training` or `validation` photos; none if not trained."""
        return self._array(f"{part}.npy", np.empty((0, 32), np.uint8))

    def reconstruction_errors(self) -> npt.NDArray[np.float32]:
        """`EmbeddingModel.reconstruction_errors` of the validation photos, each column sorted."""
        return self._array(RECONSTRUCTION_ERRORS, np.empty((0, 2), np.float32))

    def _array(self, name: str, default: npt.NDArray[Number]) -> npt.NDArray[Number]:
        if name not in self.manifest["files"]:
            return default
        array: npt.NDArray[Number] = np.load(io.BytesIO(self.read(name)), allow_pickle=False)
        return array


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write named arrays into one file, in their order."""
    np.savez(path, allow_pickle=False, **arrays)


def parse_arrays(path: Path, data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Parse what `save_arrays` wrote, as it was read from a file.

    Raises:
        DamagedArtifactError: it is no archive of arrays.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, "it is not an archive of arrays") from error


class ModelStore:
    """All models of one engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current_file = folder / "CURRENT"

    def current(self) -> ModelFolder | None:
        """Return the model in use, or None if there is none yet.

        Raises:
            DamagedArtifactError: its folder is incomplete.
        """
        name = read_current(self.current_file)
        return None if name is None else self.get(name)

    def get(self, name: str) -> ModelFolder | None:
        """Like `open`, but None if there is no such folder."""
        return self.open(name) if (self.folder / name).is_dir() else None

    def open(self, name: str) -> ModelFolder:
        """Open the model folder called `name`."""
        manifest = read_manifest(self.folder / name)
        if not {"recipe", "embedding", "dim", "weights"} <= manifest.keys():
            raise damaged(self.folder / name / MANIFEST, "it describes no model")
        return ModelFolder(self.folder / name, manifest)

    def folders(self) -> list[Path]:
        """Return the folders of all models, by name."""
        return sorted(path for path in self.folder.glob("[0-9a-f]*") if path.is_dir())

    def with_recipe(
        self, recipe: Mapping[str, Any], *, remove_damaged: bool = False
    ) -> list[ModelFolder]:
        """Every intact model made by these settings, the one in use first.

        Raises:
            DamagedArtifactError: the folder of the model in use is damaged; with `remove_damaged`,
                for a model that is easily made again, it is removed instead.
        """
        current = read_current(self.current_file)
        models = []
        for folder in self.folders():
            try:
                model = self.open(folder.name)
                model.check_needed()
                models.append(model)
            except DamagedArtifactError:
                if folder.name != current:
                    continue
                if not remove_damaged:
                    raise
                shutil.rmtree(folder)
        models.sort(key=lambda model: model.path.name != current)
        return [model for model in models if model.is_made_by(recipe)]

    def publish(self, content: Mapping[str, Any], write: Callable[[Path], None]) -> ModelFolder:
        """Write a new model and make it the one in use.

        `content` is its manifest, `write` fills the folder that it is given. The folder is named
        after recipe and weights; a complete one of that name is kept, a damaged one replaced.
        """
        folder = self.folder / digest([content["recipe"], content["weights"]])
        try:
            self.open(folder.name).check_needed()
        except DamagedArtifactError:
            remove(folder)
        with publish(folder, content) as aside:
            write(aside)
        return self.use(self.open(folder.name))

    def use(self, model: ModelFolder) -> ModelFolder:
        """Make this model the one in use."""
        write_atomic(self.current_file, f"{model.path.name}\n".encode())
        return model


def random_weights_warning(engine: str, model: ModelFolder) -> str:
    """Say that an engine's results mean nothing, and what to do.

    The weights are those of the engine that it is made of, if it is.
    """
    network = model.manifest.get("network", engine)
    whose = "" if network == engine else f"made of vectors of {network}, by "
    return (
        f"{engine}: {whose}RANDOM weights, which were never trained; for real results set"
        f" engines.{network}.weights to the path of a weights file, or to imagenet where there is a"
        f" network with engines.{network}.when_unavailable=fail, and run `imgsearch build`"
    )
