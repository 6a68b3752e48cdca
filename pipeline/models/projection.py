"""A model whose vectors are those of another model, projected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import DamagedArtifactError
from pipeline.images import U8Image
from pipeline.models.base import EmbeddingModel, F32Matrix, F64Matrix, U8Batch
from pipeline.models.store import ModelFolder, ModelStore, parse_arrays

PROJECTION = "projection.npz"


@dataclass(frozen=True)
class Projection:
    """An affine map of vectors: `Projection(mean, components, normalize=True).project(xb)`."""

    mean: npt.NDArray[np.float64]
    """(source dim,) float64, subtracted first."""
    components: F64Matrix
    """(dim, source dim) float64."""
    normalize: bool
    """Whether the results are scaled to unit length."""
    keeps_zeros: bool = False
    """Whether a vector of zeros, which has no direction, stays one."""

    def project(self, vectors: F32Matrix) -> F32Matrix:
        """(n, source dim) float32 → (n, dim) float32, C-contiguous.

        In float64: so a vector is the same, but for the rarest, whatever others are beside it.
        """
        projected = self._project(vectors)
        if self.normalize:
            norms = np.linalg.norm(projected, axis=1, keepdims=True)
            projected /= np.where(norms > 0, norms, 1)
        return np.ascontiguousarray(projected, dtype=np.float32)

    def rounding(self, vectors: F32Matrix, errors: Sequence[float]) -> list[float]:
        """How far off results may be, if (n, source dim) vectors are by `errors`: Euclidean."""
        norms = np.linalg.norm(self._project(vectors), axis=1) if self.normalize else 1.0
        scale = self._spectral_norm / np.where(norms > 0, norms, 1)
        off: list[float] = (scale * np.asarray(errors)).tolist()
        return off

    def _project(self, vectors: F32Matrix) -> F64Matrix:
        projected: F64Matrix = (vectors - self.mean) @ self.components.T
        if self.keeps_zeros:
            projected[~vectors.any(axis=1)] = 0
        return projected

    @cached_property
    def _spectral_norm(self) -> float:
        gram = self.components @ self.components.T
        return float(np.sqrt(np.linalg.eigvalsh(gram)[-1]))


class ProjectedModel:
    """An embedding model that has another one look at the photos."""

    def __init__(self, name: str, folder: ModelFolder, source: EmbeddingModel) -> None:
        self.name, self.dim, self.fingerprint = name, folder.dim, folder.fingerprint
        self.source = source
        self.projection = read_projection(folder)
        self.input_size, self.runtime = source.input_size, source.runtime

    def prepare(self, image: Image.Image) -> U8Image:
        """Any RGB image → (height, width, 3) uint8, as the other model takes it."""
        return self.source.prepare(image)

    def encode(self, pixels: U8Batch) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, dim) float32, C-contiguous."""
        return self.projection.project(self.source.encode(pixels))

    def reconstruction_errors(self, pixels: U8Batch) -> F32Matrix | None:
        """None: it rebuilds no photos."""
        return None


def read_projection(folder: ModelFolder) -> Projection:
    """Read the projection of a model folder that has one.

    Raises:
        DamagedArtifactError: it is not what was published.
    """
    arrays = parse_arrays(folder.path / PROJECTION, folder.read(PROJECTION))
    spec = folder.embedding
    return Projection(
        arrays["mean"], arrays["components"], bool(spec["normalize"]), bool(spec["keeps_zeros"])
    )


# --- What a model is made of ----------------------------------------------------------------------


def source_of(model: ModelFolder) -> ModelFolder | None:
    """Return the model whose vectors a model's are made of; None if it looks at photos itself.

    Raises:
        DamagedArtifactError: that one is gone, or is another one now.
    """
    named = model.manifest.get("source")
    if named is None:
        return None
    source = ModelStore(model.path.parents[2] / named["engine"] / "model").get(named["model"])
    if source is None or source.fingerprint != model.embedding["source"]:
        raise DamagedArtifactError(
            f"made of vectors of {named['engine']}, whose model {named['model']} is gone",
            where=model.path,
            hint="run `imgsearch build`",
        )
    return source


def network_of(model: ModelFolder) -> ModelFolder:
    """Return the model that looks at photos for a model; itself, if it does. Raises the same."""
    source = source_of(model)
    return model if source is None else network_of(source)


def trained_photos(model: ModelFolder) -> set[bytes]:
    """Return the SHA-256 of the photos that a model, or one that it is made of, was trained on."""
    photos = {row.tobytes() for row in model.photos("training")}
    source = source_of(model)
    return photos if source is None else photos | trained_photos(source)


def learned_label(model: ModelFolder) -> tuple[str, str] | None:
    """Return the column whose values a model learned, and the engine by whose vectors.

    Also where the model that it is made of did; None if none did.
    """
    label = model.manifest.get("fit", {}).get("label")
    if label is not None:
        return str(label), str(model.manifest["source"]["engine"])
    source = source_of(model)
    return None if source is None else learned_label(source)


def told_of_fit(engine: str, model: ModelFolder) -> str | None:
    """Say in one line what a model was made of, and how well; None if of photos."""
    if "fit" not in model.manifest:
        return None
    fit, source = model.manifest["fit"], model.manifest["source"]["engine"]
    if "held_out" not in fit:
        kept = f"with {fit['variance_kept']:.0%} of their variance"
        return f"{engine}: {model.dim:,} dimensions of the vectors of {source}, {kept}"
    held_out = dict(fit["held_out"])
    folds, queries = held_out.pop("folds"), held_out.pop("queries")
    scores = ", ".join(f"{what} {score:.3f}" for what, score in held_out.items())
    return (
        f"{engine}: learned {fit['label']} from the vectors of {source}; {queries:,} photos held"
        f" out of that, in {folds} folds: {scores}"
    )
