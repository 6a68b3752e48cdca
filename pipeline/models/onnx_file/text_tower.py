"""The text half of a two-tower model: words → vectors that are near those of photos."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import sha256_file
from pipeline.config import TextTowerSettings, expand
from pipeline.errors import WeightsError
from pipeline.models.base import F32Matrix
from pipeline.models.onnx_file.interface import (
    checksums,
    copy_network,
    output_name,
    read_graph,
)
from pipeline.models.runtimes.onnx import errors, open_session
from pipeline.models.store import ModelFolder

_FOLDER, _TOKENIZER = "text", "tokenizer.json"  # in a model's folder
_INTEGERS = {6: "int32", 7: "int64"}  # by TensorProto.DataType
_IDS, _MASK, _TYPES, _POSITIONS = "ids", "mask", "types", "positions"  # what inputs can be
_TRIED = ("red shirt", "a")  # of which vectors are looked at
Tensor = npt.NDArray[Any]


def text_recipe(settings: TextTowerSettings, *, read_file: bool = True) -> dict[str, Any]:
    """Return the settings that decide what vectors words have; files count by their SHA-256."""
    recipe = settings.model_dump(mode="json", exclude={"file", "sha256", "tokenizer"})
    recipe |= {"sha256": settings.sha256} if settings.sha256 else {}
    file, tokenizer = expand(Path(settings.file)), expand(Path(settings.tokenizer))
    if read_file and file.is_file() and tokenizer.is_file():
        recipe |= {**checksums(file, read_graph(file)), _TOKENIZER: sha256_file(tokenizer)}
    # Not as one nested value: `ModelFolder.is_made_by` compares key by key.
    return {f"text's {key}": value for key, value in recipe.items()}


def check_tower(
    name: str, settings: TextTowerSettings, dim: int, *, is_normalized: bool
) -> dict[str, Any]:
    """Read a text encoder, and try it; return how it is called, for a model's manifest.

    Raises:
        WeightsError: a file is not there, or is no such encoder, or its vectors are not `dim` long.
    """
    key = f"engines.{name}.text"
    file = _existing(settings.file, f"{key}.file")
    tokenizer = _existing(settings.tokenizer, f"{key}.tokenizer")
    model = read_graph(file)
    if settings.sha256 not in (None, sha256_file(file)):
        hint = "it is another file, or was cut short on its way: get it again"
        raise WeightsError(f"{file} has not this SHA-256", where=f"{key}.sha256", hint=hint)
    outputs = [output.name for output in model.graph.output]
    spec = {
        **settings.model_dump(mode="json", exclude={"file", "sha256", "tokenizer"}),
        "graph": file.name,
        "inputs": _inputs(f"{key}.file", model),
        "output": output_name(key, settings.output, outputs),
    }
    try:
        tower = TextTower(file, tokenizer, spec, is_normalized=is_normalized)
        vectors = tower.encode(_TRIED)
    except ValueError as error:
        raise WeightsError(str(error), where=f"{key}.pooling") from error
    except errors() as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"ONNX Runtime cannot run it: {reason}", where=file) from error
    if vectors.shape[1] != dim or not np.isfinite(vectors).all():
        problem = f"its vectors have {vectors.shape[1]} numbers, those of photos {dim}"
        hint = "give the text and image encoders of one model, with their projections"
        raise WeightsError(problem, where=f"{key}.file", hint=hint)
    return spec


def copy_tower(settings: TextTowerSettings, folder: Path) -> None:
    """Copy a text encoder and its tokenizer into a model's folder."""
    file = expand(Path(settings.file))
    copy_network(file, read_graph(file), folder / _FOLDER)
    shutil.copyfile(expand(Path(settings.tokenizer)), folder / _FOLDER / _TOKENIZER)


def open_tower(folder: ModelFolder) -> TextTower | None:
    """Open the text encoder of a model folder; None if it has none.

    Raises:
        DamagedArtifactError: its files are not what was published.
        WeightsError: the library `tokenizers` is not installed.
    """
    spec = folder.manifest.get("text")
    if spec is None:
        return None
    for name in sorted(folder.manifest["files"]):
        if name.startswith(f"{_FOLDER}/"):
            folder.check(name)
    place = folder.path / _FOLDER
    normalized = folder.is_normalized
    return TextTower(place / spec["graph"], place / _TOKENIZER, spec, is_normalized=normalized)


class TextTower:
    """A text encoder that is open.

    tower.encode(["red shirt"])  # (1, dim) float32
    """

    def __init__(
        self, file: Path, tokenizer: Path, spec: Mapping[str, Any], *, is_normalized: bool
    ) -> None:
        """Open its files; raises a WeightsError, or one of `errors` if it is no network."""
        self._tokenizer = _open_tokenizer(tokenizer, spec)
        self._session = open_session(file)
        self._spec, self._is_normalized = spec, is_normalized

    def encode(self, texts: Sequence[str]) -> F32Matrix:
        """N texts → (n, dim) float32, of unit length if the model's vectors are.

        Each is computed by itself, so that its vector does not depend on the others.

        Raises:
            ValueError: the pooling of the settings makes no vector of the output.
        """
        vectors = np.concatenate([self._encode(text) for text in texts])
        if self._is_normalized:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(norms > 0, norms, np.float32(1))
        return vectors

    def _encode(self, text: str) -> F32Matrix:
        encoding = self._tokenizer.encode(self._spec["template"].replace("{}", text))
        mask = np.array([encoding.attention_mask])
        values = {
            _IDS: np.array([encoding.ids]),
            _MASK: mask,
            _TYPES: np.array([encoding.type_ids]),
            _POSITIONS: np.arange(mask.size)[np.newaxis],
        }
        inputs = {n: values[kind].astype(dtype) for n, kind, dtype in self._spec["inputs"]}
        (output,) = self._session.run([self._spec["output"]], inputs)
        return _pooled(output, self._spec["pooling"], mask)


def _pooled(output: Tensor, pooling: str, mask: Tensor) -> F32Matrix:
    """(1, dim), or tokens (1, tokens, dim) with their mask (1, tokens) → (1, dim) float32."""
    if output.ndim != (2 if pooling == "none" else 3):
        shape = " × ".join(map(str, output.shape))
        raise ValueError(f"no pooling {pooling} of its output, which is {shape} for a text")
    output = output.astype(np.float32)
    words = np.flatnonzero(mask[0])
    match pooling:
        case "cls":
            output = output[:, 0]
        case "last":
            output = output[:, words[-1]]
        case "avg":
            output = output[:, words].mean(axis=1)
    return np.ascontiguousarray(output)


def _open_tokenizer(file: Path, spec: Mapping[str, Any]) -> Any:
    """Open a tokenizer that makes each text as long as the encoder takes it."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        message = "the library tokenizers is needed for models that take words"
        raise WeightsError(message, hint="run pip install 'imgsearch[text]'") from error
    try:
        tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library has no error of its own
        reason = " ".join(str(error).split())[:200]
        hint = "give the tokenizer.json of the model"
        raise WeightsError(f"it is no tokenizer: {reason}", where=file, hint=hint) from error
    length, token = spec["context_length"], spec["pad_token"]
    pad = (tokenizer.padding or {}).get("pad_id", 0)
    if token is not None and (pad := tokenizer.token_to_id(token)) is None:
        raise WeightsError(f"it has no token {token!r}", where=file, hint="leave pad_token out")
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=pad, pad_token=token or "")
    return tokenizer


def _inputs(key: str, model: Any) -> list[list[str]]:
    """Name, kind and type of each input of a text encoder."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = []
    for value in (value for value in model.graph.input if value.name not in weights):
        dtype = _INTEGERS.get(value.type.tensor_type.elem_type)
        if dtype is None or len(value.type.tensor_type.shape.dim) != 2:
            problem = f"its input {value.name!r} takes no tokens"
            raise WeightsError(problem, where=key, hint="export the encoder of texts alone")
        inputs.append([value.name, _kind(value.name), dtype])
    if [kind for _, kind, _ in inputs].count(_IDS) != 1:
        names = ", ".join(name for name, *_ in inputs) or "none"
        problem = f"it has not one input of tokens but {names}"
        raise WeightsError(problem, where=key, hint="export the encoder of texts alone")
    return inputs


def _kind(name: str) -> str:
    """What an input takes, by its name, as Hugging Face's and OpenCLIP's exports have it."""
    lower = name.lower()
    for part, kind in (("mask", _MASK), ("type", _TYPES), ("position", _POSITIONS)):
        if part in lower:
            return kind
    return _IDS


def _existing(path: str, key: str) -> Path:
    file = expand(Path(path))
    if not file.is_file():
        raise WeightsError(f"there is no file {file}", where=key, hint="give its path")
    return file
