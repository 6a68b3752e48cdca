"""Measure again whether indexes keep their promise of recall: on other photos than at the build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.index import open_build
from pipeline.index.base import VectorIndex
from pipeline.index.builds import Build
from pipeline.index.milvus import serve
from pipeline.index.recall import PromisedRecall, Recall
from pipeline.index.tuning import measure
from pipeline.progress import SILENT, Progress
from pipeline.publish.store import PublicationStore

QUERIES = 1000


@dataclass(frozen=True)
class RecallCheck:
    """The recall of one engine's index, when it was built and now."""

    engine: str
    built: PromisedRecall
    now: Recall

    @property
    def is_kept(self) -> bool:
        """Whether the promise may well be kept: the interval of now reaches it."""
        return self.now.high >= self.built.promise

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**asdict(self), "is_kept": self.is_kept}

    def __str__(self) -> str:
        line = f"{self.engine}: recall@10 {self.now}, {self.built.promise} promised"
        advice = "set index.recall higher, or to null for exact answers, and run `imgsearch build`"
        return line if self.is_kept else f"{line}, which is not kept; {advice}"


def check_recall(
    config: Config, seed: int | None = None, progress: Progress = SILENT
) -> Iterator[RecallCheck]:
    """Yield what each engine's current index finds of the neighbors of random photos of its own.

    Indexes that are exact are left out. Without a seed the photos are other ones each time.

        for check in check_recall(config): print(check, check.is_kept)

    Raises:
        DamagedArtifactError: an index's files are not what was written.
        VectorDatabaseError: a Milvus server searches, and does not answer.
    """
    random = np.random.default_rng(seed)
    answering = PublicationStore(config).current() if config.index.type == "milvus" else None
    for name in config.engines:
        build, collection = Engine(name, config).builds.current(), None
        if answering and (collection := answering.collections.get(name)):
            build = Engine(name, config).builds.open(answering.engines[name].build)
        promised = (collection or build).recall if build else None
        if build is None or promised is None:
            continue
        with progress.task(f"{name}: measuring recall", None, "photos"):
            index = serve(config.index.milvus, collection, open_build(build))
            now = _measure(build, index, random)
        if now is not None:
            yield RecallCheck(name, promised, now)


def _measure(build: Build, index: VectorIndex, random: np.random.Generator) -> Recall | None:
    with closing(index), closing(open_build(build, exact=True)) as exact:
        rows = random.choice(index.rows, min(QUERIES, index.rows), replace=False)
        return measure(exact, index, rows)
