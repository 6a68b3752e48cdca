"""How far an approximate search looks to keep a promise of recall: `probing.json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from pipeline.artifacts import damaged, parse_json, write_json
from pipeline.embeddings.segment import Segment
from pipeline.index.recall import EXACT, PromisedRecall, Recall
from pipeline.integrity import read_published

PROBING_FILE = "probing.json"


class Level(NamedTuple):
    """What it takes to find neighbors that are so far away."""

    distance: float
    """At most."""
    effort: float
    """Which clusters are looked at: those whose centers are so near, in units of codes; or so many
    of the nearest, where it is not known how near they are."""
    reach: float
    """How far a neighbor's code is at most, in units of codes, for a distance of 1."""


@dataclass(frozen=True)
class Probing:
    """A promise of recall, and what was found when the index was written."""

    promise: float
    levels: Sequence[Level]
    """By ascending distances; what is beyond the last is searched for exactly."""
    measured: Recall | None = None
    """Of photos that the levels were not found with; None where all searches are exact."""

    def level(self, distance: float) -> Level:
        """Return what it takes to find neighbors up to a distance: if not all, then most."""
        return next((level for level in self.levels if distance <= level.distance), self.levels[-1])

    def save(self, folder: Path) -> None:
        """Write it into the folder of an index.

        Raises:
            OSError: the file cannot be written.
        """
        content = {
            "promise": self.promise,
            "levels": [level._asdict() for level in self.levels],
            "measured": self.measured and self.measured.to_dict(),
        }
        write_json(folder / PROBING_FILE, content)

    @classmethod
    def parse(cls, file: Path, data: bytes) -> Self:
        """Read what `save` wrote: `Probing.parse(file, read_file(file)).measured`.

        Raises:
            DamagedArtifactError: it is something else.
        """
        content = parse_json(file, data)
        try:
            levels = [
                Level(float(one["distance"]), float(one["effort"]), float(one["reach"]))
                for one in content["levels"]
            ]
            measured = content["measured"] and Recall.from_dict(content["measured"])
            return cls(float(content["promise"]), levels, measured)
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(file, "it does not say how far to look") from error


def overall_recall(segments: Sequence[Segment], promise: float) -> PromisedRecall:
    """Return the recall of several segments that are searched as one, from what each measured.

    A neighbor is as likely in a segment as that has rows.

    Raises:
        DamagedArtifactError: a segment's file is not what was written.
    """
    found = [_measured(segment) or EXACT for segment in segments]
    rows = sum(segment.rows for segment in segments)
    shares = [segment.rows / rows for segment in segments]

    def mean(values: Iterable[float]) -> float:
        return sum(share * value for share, value in zip(shares, values, strict=True))

    recall = Recall(
        mean(one.mean for one in found),
        mean(one.low for one in found),
        mean(one.high for one in found),
        sum(one.queries for one in found),
    )
    return PromisedRecall(promise, recall)


def _measured(segment: Segment) -> Recall | None:
    data = read_published(segment.path, segment.manifest, PROBING_FILE)
    return Probing.parse(segment.path / PROBING_FILE, data).measured
