"""The shape of an report_data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.reconstruction import ReconstructionSample
from pipeline.evaluation.results import Evaluation
from pipeline.report.engines import EngineFacts
from pipeline.report.example_answers import ExampleQuery
from pipeline.report.maps import Maps


@dataclass(frozen=True)
class ReportData:
    """A catalog and its engines."""

    catalog: str
    label: str
    """The column that labels come from."""
    states: Mapping[str, Mapping[str, int]]
    """State → reason → items; they add up to the rows that the source offered."""
    photos: int
    """Distinct photos that are available."""
    engines: tuple[EngineFacts, ...]
    evaluation: Evaluation | None
    unmeasured: str | None
    """Why there is no evaluation."""
    rebuilt: tuple[ReconstructionSample, ...]
    sheets: tuple[ExampleQuery, ...]
    maps: Maps
    settings: Mapping[str, Any]
    """All settings, as a YAML file would have them."""
    versions: Mapping[str, str]
    """Of this program and of the libraries that change numbers."""
