"""What an ONNX file takes and gives, read from its graph; a file that does not fit is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.artifacts import sha256_file
from pipeline.config import OnnxSettings
from pipeline.errors import WeightsError

_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}  # of operators that ONNX Runtime has
_DTYPES = {1: "float32", 10: "float16", 2: "uint8"}  # by TensorProto.DataType
_LAYOUTS = {"nchw": (1, 2, 3), "nhwc": (3, 1, 2)}  # where channels, height and width stand


@dataclass(frozen=True)
class Interface:
    """How an encoder is called."""

    input: str
    dtype: str
    """float32, float16 or uint8."""
    layout: str
    """nchw or nhwc."""
    input_size: tuple[int, int]
    """(height, width) in pixels."""
    output: str


def read_graph(file: Path) -> Any:
    """Read an ONNX file as an `onnx.ModelProto`; weights in files beside it are not read.

    Raises:
        WeightsError: it is no ONNX file, or has operators that ONNX Runtime does not know.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(file), load_external_data=False)
    except DecodeError as error:
        raise WeightsError("it is no ONNX file", where=file) from error
    if not model.graph.node:
        raise WeightsError("it is no ONNX file, or one without operators", where=file)
    known = _DOMAINS | {function.domain for function in model.functions}
    nodes = (node for node in model.graph.node if node.domain not in known)
    if custom := sorted({f"{node.domain}.{node.op_type}" for node in nodes}):
        problem = f"it needs the custom operators {', '.join(custom[:5])}"
        raise WeightsError(problem, where=file, hint="export it with standard operators")
    return model


def data_files(file: Path, model: Any) -> dict[str, Path]:
    """Map the files of weights that a graph points to, as it calls them, to their paths.

    Raises:
        WeightsError: one is not there, or not in the folder of `file` or below.
    """
    found: dict[str, Path] = {}
    for tensor in _tensors(model.graph):
        location = {entry.key: entry.value for entry in tensor.external_data}.get("location")
        if location is None:
            continue
        path = PurePosixPath(location)
        if path.is_absolute() or ".." in path.parts or "\\" in location:
            problem = f"it keeps weights in {location!r}, outside of its folder"
            raise WeightsError(problem, where=file)
        if not (file.parent / path).is_file():
            problem = f"it keeps weights in {location!r}, which is not beside it"
            raise WeightsError(problem, where=file, hint="copy both to the same folder")
        found[path.as_posix()] = file.parent / path
    return found


def checksums(file: Path, model: Any) -> dict[str, Any]:
    """Return the SHA-256 of an ONNX file, and of each that keeps its weights."""
    data = {part: sha256_file(path) for part, path in data_files(file, model).items()}
    return {"sha256": sha256_file(file), **({"data": data} if data else {})}


def copy_network(file: Path, model: Any, folder: Path) -> None:
    """Copy an ONNX file, and those that keep its weights, into a folder."""
    for part, path in {file.name: file, **data_files(file, model)}.items():
        copy = folder / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _tensors(graph: Any) -> Iterator[Any]:
    """All weights and constants of a graph and of the graphs within it."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            if inner.node:
                yield from _tensors(inner)


def read_interface(name: str, settings: OnnxSettings, model: Any) -> Interface:
    """Find out how an encoder is called, from its graph and from what the settings add to it.

    Raises:
        WeightsError: several inputs, no picture as the input, a layout or size that cannot be
            told, or an output that is not there.
    """
    key = f"engines.{name}"
    source = _only_input(key, model)
    dims = [_dim(d) for d in source.type.tensor_type.shape.dim]
    dtype = _DTYPES.get(source.type.tensor_type.elem_type)
    if len(dims) != 4 or dtype is None:
        shape = " × ".join(str(dim or "?") for dim in dims) or "no shape"
        problem = f"its input {source.name!r} is no picture of float32, float16 or uint8: {shape}"
        hint = "export the encoder of images alone"
        raise WeightsError(problem, where=f"{key}.file", hint=hint)
    if dims[0] not in (None, 1):
        hint = "export it for one photo, or for any number"
        raise WeightsError(f"it takes {dims[0]} photos at a time", where=f"{key}.file", hint=hint)
    layout = _layout(key, settings, dims)
    return Interface(
        source.name,
        dtype,
        layout,
        _size(key, settings, [dims[axis] for axis in _LAYOUTS[layout][1:]]),
        output_name(key, settings.output, [output.name for output in model.graph.output]),
    )


def _dim(dim: Any) -> int | None:
    """A side that is fixed; None if it is not."""
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def _only_input(key: str, model: Any) -> Any:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        hint = "export the encoder of images alone"
        raise WeightsError(f"it has not one input but {names}", where=f"{key}.file", hint=hint)
    return inputs[0]


def _layout(key: str, settings: OnnxSettings, dims: list[int | None]) -> str:
    """Where channels stand: where the file says 3, or as the settings say if it says nothing."""
    possible = [name for name, axes in _LAYOUTS.items() if dims[axes[0]] == 3]
    if not possible:
        possible = [name for name, axes in _LAYOUTS.items() if dims[axes[0]] is None]
    if settings.layout in possible or (settings.layout is None and len(possible) == 1):
        return settings.layout or possible[0]
    shape = " × ".join(str(dim or "?") for dim in dims)
    problem = f"whether {shape} is nchw or nhwc cannot be told"
    if settings.layout or not possible:
        problem = f"its input, {shape}, has not three channels as {settings.layout or 'RGB'} has"
    hint = f"give {' or '.join(possible)}" if possible else "export an encoder of RGB photos"
    raise WeightsError(problem, where=f"{key}.layout", hint=hint)


def _size(key: str, settings: OnnxSettings, sides: list[int | None]) -> tuple[int, int]:
    given: Any = settings.input_size or (None, None)
    height, width = (side or other for side, other in zip(sides, given, strict=True))
    if not (height and width):
        hint = "give the one it was trained with"
        raise WeightsError("the file takes any size", where=f"{key}.input_size", hint=hint)
    if settings.input_size not in (None, (height, width)):
        takes = f"the file takes {height} × {width} pixels"
        raise WeightsError(takes, where=f"{key}.input_size", hint="leave it out")
    return height, width


def output_name(key: str, wanted: str | None, names: list[str]) -> str:
    """Return which of a file's outputs is taken: the one that is wanted, or the only one.

    Raises:
        WeightsError: there is no such one, or there are several.
    """
    if wanted in names or (wanted is None and len(names) == 1):
        return wanted or names[0]
    problem = f"it has no {wanted!r}" if wanted else "it has several outputs"
    raise WeightsError(problem, where=f"{key}.output", hint=f"give one of {', '.join(names)}")
