"""The exception tree.

Everything that a user can cause derives from `PipelineError`; its text is one line that says what
is wrong, where, and what to do next. Anything else that escapes is a bug and keeps its traceback.

    PipelineError
    ├── ConfigError            a setting is unknown, of the wrong type, or impossible
    ├── SourceError            the photos or the metadata to ingest cannot be read
    ├── RejectedImage          these bytes are not an acceptable photo (a counted outcome)
    ├── WeightsError           pretrained weights cannot be had, or do not fit the network
    ├── TrainingError          there is nothing to train on, or training diverged
    ├── NotBuiltError          the artifact asked for does not exist yet
    ├── StaleIndexError        the index was built by another model than the one in use
    ├── DamagedArtifactError   a file on disk is missing, truncated or altered
    ├── BusyError              another process is writing this catalog
    └── QueryError             the query cannot be answered (unknown id or engine, k ≤ 0, …)
        └── NothingToMeasureError    no item has a label, or no two have one in common
"""

from __future__ import annotations


class PipelineError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(PipelineError):
    """A setting is unknown, of the wrong type, or impossible."""


class SourceError(PipelineError):
    """The photos or the metadata to ingest cannot be read."""


class RejectedImage(PipelineError):
    """These bytes are not an acceptable photo; `reason` is the outcome that gets counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class WeightsError(PipelineError):
    """Pretrained weights cannot be had, or do not fit the network."""


class TrainingError(PipelineError):
    """There is nothing to train on, or training diverged."""


class NotBuiltError(PipelineError):
    """The catalog, model or index asked for does not exist yet."""


class StaleIndexError(PipelineError):
    """The index was built by another model than the one in use."""


class DamagedArtifactError(PipelineError):
    """A file on disk is missing, truncated or altered."""


class BusyError(PipelineError):
    """Another process is writing this catalog."""


class QueryError(PipelineError):
    """The query cannot be answered as asked."""


class NothingToMeasureError(QueryError):
    """There are no labels to measure by, or no two items have one in common."""
