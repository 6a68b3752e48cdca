"""Repair a catalog: do what `verify` advises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.artifacts import remove
from pipeline.config import Config
from pipeline.embeddings.salvage import salvage
from pipeline.integrity import drop_file
from pipeline.locks import lock
from pipeline.maintenance.problems import Problem, Remedy
from pipeline.maintenance.verify import verify
from pipeline.progress import SILENT, Progress
from pipeline.publish.collections import drop_collections
from pipeline.stages import build
from pipeline.workspace import Workspace


@dataclass
class Repair:
    """What a repair found, and what is left."""

    mended: list[Problem] = field(default_factory=list)
    left: list[Problem] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {name: [str(p) for p in problems] for name, problems in vars(self).items()}


def repair(config: Config, progress: Progress = SILENT) -> Repair:
    """Verify a catalog, do what the problems' remedies say, build, and verify again.

    One problem may hide others: this goes on until nothing is left that it can mend.

        repair(load_config(file)).left

    Raises:
        PipelineError: what `verify` and `build` raise; what is mended stays mended.
    """
    done = Repair()
    while True:
        done.left = verify(config, progress).problems
        todo = [
            problem for problem in done.left if problem.is_mendable and problem not in done.mended
        ]
        if not todo:
            done.mended = [problem for problem in done.mended if problem not in done.left]
            return done
        _apply(todo, config)
        build(config, progress=progress)
        done.mended += todo


def _apply(problems: list[Problem], config: Config) -> None:
    """Do what must be done before the next build."""
    with lock(config.folder):
        for problem in problems:
            target = problem.path
            if problem.remedy is Remedy.DELETE:
                remove(target)
            elif problem.remedy is Remedy.SALVAGE and target.is_dir():
                salvage(target, target.parent.parent / "embeddings")
            elif problem.remedy is Remedy.DROP:
                drop_file(target)
            elif problem.remedy is Remedy.REWRITE:
                drop_collections(config, [problem.collection])
    photos = [problem.path for problem in problems if problem.remedy is Remedy.READ_AGAIN]
    if photos:
        with Workspace.locked(config, create=False) as workspace, workspace.catalog.transaction():
            for photo in photos:
                workspace.catalog.forget_file(photo)
