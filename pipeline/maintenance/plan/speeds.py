"""How fast a machine is: constants that come with the program, or that were measured here."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.artifacts import damaged, read_sealed, write_sealed
from pipeline.concurrency import cores
from pipeline.config.schema import SPEEDS
from pipeline.errors import DamagedArtifactError


@dataclass(frozen=True)
class EngineSpeed:
    """What was measured of one engine."""

    dim: int
    photo_seconds: float | None = None
    """Of a core, for a photo of a batch, from its pixels to its vector; None: not measured."""
    query_seconds: float | None = None
    """For a photo alone."""
    code_lengths: Mapping[int, int] = field(default_factory=dict)
    """Rows → how long codes would be, by its own vectors; 0: of no use. Empty: not measured."""


@dataclass(frozen=True)
class Speeds:
    """Rates of one machine. Those of computing are of one core, as most of it is done on one."""

    cores: int = 2
    seal_row: float = 8.0e-6
    """Seconds to copy a vector from a shard into a segment, with its checksums: of any length."""
    seal_byte: float = 2.5e-9
    """... and for each of its bytes."""
    fit_flops: float = 4.4e10
    """Floating-point operations a second where codes are fitted to a sample."""
    numbers: float = 3.0e8
    """float64 that are compared one by one in a second."""
    encode_flops: float = 3.6e10
    """... where vectors become codes."""
    cluster_flops: float = 7.0e10
    """... where codes are sorted into clusters."""
    batch_flops: float = 6.0e10
    """... where many queries compare all vectors."""
    scan_bytes: float = 2.0e10
    """Bytes of vectors that a query alone compares in a second."""
    code_bytes: float = 2.0e10
    """Bytes of codes that a query looks at in a second."""
    query_seconds: float = 2.2e-4
    """That any query takes where there are codes."""
    compare_bytes: float = 5.4e9
    """Bytes of vectors here and there that are compared in a second."""
    decode_seconds: float = 2.5e-3
    """Of a core, for a photo from its file to pixels."""
    engines: Mapping[str, EngineSpeed] = field(default_factory=dict)
    is_measured: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


SHIPPED = Speeds()


def machine() -> str:
    """Name the kind of this machine, so that what was measured on another is not used here."""
    return f"{platform.machine()}, {cores()} cores, {_processor()}"


def write_speeds(folder: Path, speeds: Speeds) -> None:
    """Keep what was measured beside the catalog: `write_speeds(config.folder, speeds)`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_sealed(folder / SPEEDS, {"machine": machine(), "speeds": speeds.to_dict()})


def read_speeds(folder: Path) -> Speeds | None:
    """Read what `write_speeds` kept; None if there is nothing, or it is of another machine.

    Raises:
        DamagedArtifactError: the file is not what was written.
    """
    file = folder / SPEEDS
    if not file.exists():
        return None
    try:
        content = read_sealed(file, remove=file)
        return _parse(content["speeds"]) if content["machine"] == machine() else None
    except DamagedArtifactError as error:
        hint = "run `imgsearch plan --measure`"
        raise DamagedArtifactError(error.message, where=file, hint=hint, remove=file) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(file, "it holds no speeds", file) from error


def _parse(content: Mapping[str, Any]) -> Speeds:
    """Raises KeyError, TypeError or ValueError if it is none."""
    engines = {
        str(name): EngineSpeed(
            **{
                **one,
                "code_lengths": {int(rows): int(n) for rows, n in one["code_lengths"].items()},
            }
        )
        for name, one in content["engines"].items()
    }
    speeds = Speeds(**{**content, "engines": engines})
    rates = (value for value in asdict(speeds).values() if isinstance(value, float))
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError("a rate is not above 0")
    return speeds


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor()
