"""The exception tree.

Everything that a user can cause derives from `PipelineError`; its text is one line that says what
is wrong, where, and what to do next. Anything else that escapes is a bug and keeps its traceback.

    PipelineError
    ├── ConfigError            a setting is unknown, of the wrong type, or impossible
    ├── SourceError            the photos or the metadata to ingest cannot be read
    │   └── SourceGoneError    there is no such folder or file, or nothing in it
    ├── HeldError              so much is gone from the source that nothing of it was ingested
    ├── RejectedImage          these bytes are not an acceptable photo (a counted outcome)
    ├── WeightsError           pretrained weights cannot be had, or do not fit the network
    ├── TrainingError          there is nothing to train on, or training diverged
    ├── NotBuiltError          the artifact asked for does not exist yet
    ├── StaleIndexError        the index was built by another model than the one in use
    ├── DamagedArtifactError   a file on disk is missing, truncated or altered
    ├── RunnerError            the machines that are to do the work cannot
    ├── NoRoomError            the disk or the memory is too small for what is to be done
    ├── BusyError              another process is writing this catalog
    ├── VectorDatabaseError    the vector database is not there, or does not do what it should
    ├── GateError              what was built is worse than what answers, and is kept aside
    └── QueryError             the query cannot be answered (unknown id or engine, k ≤ 0, …)
        ├── NoLookError              an engine has no vector of the words that are searched with
        └── NothingToMeasureError    no item has a label, or no two have one in common
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class PipelineError(Exception):
    """Base of every error that a user can cause and mend.

    Its text is `where: message; hint`. Programs read the parts: `code` names the kind of error,
    `where` the file, setting or item it is about, `hint` what to do next; the last two may be "".
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, where: str | Path = "", hint: str = "") -> None:
        self.message, self.where, self.hint = message, str(where), hint
        place = f"{where}: " if self.where else ""
        advice = f"; {hint}" if hint else ""
        super().__init__(f"{place}{message}{advice}")


class ConfigError(PipelineError):
    """A setting is unknown, of the wrong type, or impossible."""

    code = "config"


class SourceError(PipelineError):
    """The photos or the metadata to ingest cannot be read."""

    code = "source"


class SourceGoneError(SourceError):
    """The folder or file of the source is not there, or nothing is in it."""

    code = "source_gone"


class HeldError(PipelineError):
    """So much is gone from the source that nothing of it was ingested."""

    code = "held"


class RejectedImage(PipelineError):
    """These bytes are not an acceptable photo; `reason` is the outcome that gets counted."""

    code = "rejected_image"

    def __init__(self, reason: str, detail: str, *, where: str | Path = "") -> None:
        what = "not an acceptable photo: " if str(where) else ""
        super().__init__(f"{what}{reason}: {detail}", where=where)
        self.reason, self.detail = reason, detail


class WeightsError(PipelineError):
    """Pretrained weights cannot be had, or do not fit the network."""

    code = "weights"


class TrainingError(PipelineError):
    """There is nothing to train on, or training diverged."""

    code = "training"


class NotBuiltError(PipelineError):
    """The catalog, model or index asked for does not exist yet."""

    code = "not_built"


class StaleIndexError(PipelineError):
    """The index was built by another model than the one in use."""

    code = "stale_index"


class DamagedArtifactError(PipelineError):
    """A file on disk is missing, truncated or altered.

    `remove` is what to delete before `imgsearch build`, which then makes it again.
    """

    code = "damaged"

    def __init__(
        self,
        message: str,
        *,
        where: str | Path = "",
        hint: str = "run `imgsearch build`",
        remove: Path | None = None,
    ) -> None:
        delete = f"delete {remove} and " if remove else ""
        super().__init__(message, where=where, hint=f"{delete}{hint}")
        self.remove = remove


class RunnerError(PipelineError):
    """The machines that are to do the work cannot be reached, or cannot do it."""

    code = "runner"


class NoRoomError(PipelineError):
    """The disk or the memory is certainly too small for what is about to be done."""

    code = "no_room"


class BusyError(PipelineError):
    """Another process is writing this catalog."""

    code = "busy"


class VectorDatabaseError(PipelineError):
    """The vector database cannot be reached, refuses, or does not hold what it should."""

    code = "vector_database"


class GateError(PipelineError):
    """What was built is worse than what answers; it is kept aside, and does not answer."""

    code = "gate"


class QueryError(PipelineError):
    """The query cannot be answered as asked."""

    code = "query"


class NoLookError(QueryError):
    """An engine cannot search with these words, which have no vector there."""

    code = "no_look"


class NothingToMeasureError(QueryError):
    """There are no labels to measure by, or no two items have one in common."""

    code = "nothing_to_measure"
