"""What is published: every publication that is kept, and which of them answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config import Config
from pipeline.errors import NotBuiltError
from pipeline.publish.publication import Publication
from pipeline.publish.store import PublicationStore


@dataclass(frozen=True)
class PublicationInfo:
    """One publication."""

    number: int
    time: str  # in UTC
    parent: int | None
    answers: bool
    tags: Sequence[str]
    changes: Mapping[str, int] | None  # added, changed, removed items; None for the first
    photos: Mapping[str, int]  # engine → how many its index has
    new_models: Sequence[str]  # engines whose model is not the parent's, as far as that is kept
    refused: Sequence[str]  # why the gate keeps it aside

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def publications(config: Config) -> list[PublicationInfo]:
    """Return all publications that are kept, the newest first: `publications(config)[0].changes`.

    Raises:
        NotBuiltError: nothing is published yet.
        DamagedArtifactError: one of them is not what was written.
    """
    store = PublicationStore(config)
    kept = {one.number: one for one in store.all()}
    if not kept:
        what, hint = "nothing is published yet", "run `imgsearch build`"
        raise NotBuiltError(what, where=config.folder, hint=hint)
    tags, answering = store.tags(), store.current_number()
    return [
        PublicationInfo(
            number=number,
            time=one.time,
            parent=one.parent,
            answers=number == answering,
            tags=sorted(name for name, tagged in tags.items() if tagged == number),
            changes=one.changes,
            photos={name: engine.photos for name, engine in one.engines.items()},
            new_models=_new_models(one, kept.get(one.parent or 0)),
            refused=one.faults,
        )
        for number, one in sorted(kept.items(), reverse=True)
    ]


def _new_models(publication: Publication, parent: Publication | None) -> list[str]:
    before = {name: engine.fingerprint for name, engine in parent.engines.items()} if parent else {}
    return [
        name
        for name, engine in publication.engines.items()
        if name in before and before[name] != engine.fingerprint
    ]
