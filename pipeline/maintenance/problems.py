"""What is wrong with files, and what mends them: as lines for people, as data for `repair`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.errors import DamagedArtifactError


class Remedy(StrEnum):
    """What mends a problem."""

    BUILD = "build"  # the next build does
    READ_AGAIN = "read again"  # the next build does, once it has read this photo anew
    DELETE = "delete"  # what is named is deleted, and made again by the next build
    SALVAGE = "salvage"  # its intact vectors are kept, the others are made again by the next build
    DROP = "drop"  # only people look at it: the folder is as good without it
    REWRITE = "rewrite"  # a server's collection is dropped, and written again by the next build
    WAIT = "wait"  # for a server that does not answer
    NONE = "none"  # nothing is known to be damaged, it cannot be read


@dataclass(frozen=True)
class Problem:
    """One problem: where, what, and what to do."""

    where: Path | str
    fault: str
    remedy: Remedy = Remedy.BUILD
    target: Path | None = None
    """What the remedy is for, if not `where`."""
    command: str = "build"
    """What makes again what was deleted."""
    collection: str = ""
    """In the server at `where`, which then is its address."""

    @property
    def path(self) -> Path:
        """What the remedy is for."""
        return Path(self.target or self.where)

    @property
    def is_mendable(self) -> bool:
        """Whether `repair` can do what it takes."""
        return self.remedy not in (Remedy.NONE, Remedy.WAIT)

    def __str__(self) -> str:
        target = self.target or "it"
        advice = {
            Remedy.DELETE: f"delete {target} and run `imgsearch {self.command}`",
            Remedy.SALVAGE: "run `imgsearch repair`, which keeps the vectors in it that are intact",
            Remedy.DROP: "run `imgsearch repair`, which takes it off the list of files",
            Remedy.REWRITE: "run `imgsearch repair`, which has it written again",
            Remedy.WAIT: "see whether the server runs, and try again",
            Remedy.NONE: "let this user read it, it may be intact",
        }
        return f"{self.where}: {self.fault}; {advice.get(self.remedy, 'run `imgsearch build`')}"

    def remedy_to_dict(self) -> dict[str, str]:
        """Return JSON-able values."""
        target = self.collection or str(self.target or self.where)
        return {"remedy": self.remedy.value, "target": target, "command": self.command}


@dataclass
class Verdict:
    """How much was checked, and the problems: each is a line that says where, what, what to do."""

    photos: int = 0
    models: int = 0
    shards: int = 0
    segments: int = 0
    builds: int = 0
    problems: list[Problem] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        lines = [str(problem) for problem in self.problems]
        remedies = [problem.remedy_to_dict() for problem in self.problems]
        return {**vars(self), "problems": lines, "remedies": remedies}


def problem_of(error: DamagedArtifactError | OSError, where: Path) -> Problem:
    """Return the problem that reading `where` ended with."""
    if isinstance(error, DamagedArtifactError):
        remedy = Remedy.DELETE if error.remove else Remedy.BUILD
        return Problem(Path(error.where or where), error.message, remedy, error.remove)
    return Problem(where, f"cannot be read: {error.strerror}", Remedy.NONE)


def trying(check: Callable[[Path], object], path: Path) -> Iterator[Problem]:
    """Yield the problem that the check of a file ends with, if it does: `trying(read, path)`."""
    try:
        check(path)
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, path)


def trying_all(check: Callable[[], Iterator[Problem]], path: Path) -> Iterator[Problem]:
    """Yield the problems that a check finds, and the one that it ends with, if it does."""
    try:
        yield from check()
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, path)
