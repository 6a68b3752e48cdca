"""Verify what is known of near-duplicates."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pipeline.artifacts import damaged
from pipeline.config import Config
from pipeline.config.schema import DUPLICATES
from pipeline.duplicates.store import DuplicateStore
from pipeline.errors import DamagedArtifactError
from pipeline.maintenance.problems import Problem, problem_of


def duplicate_problems(config: Config) -> Iterator[Problem]:
    """Yield the problem of `duplicates/`, if there is one: `list(duplicate_problems(config))`."""
    store = DuplicateStore(config.folder / DUPLICATES)
    try:
        if os.path.lexists(store.folder) and not store.folder.is_dir():
            raise damaged(store.folder, "it is not a folder", remove=store.folder)
        known = store.read()
        if known is not None:
            known.check()
        elif config.finds_duplicates:
            yield Problem(store.folder, "photos have not been compared with each other")
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, store.folder)
