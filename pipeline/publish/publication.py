"""A publication: one state of the ledger and one index of every engine, which answer together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pipeline.artifacts import Manifest
from pipeline.index.builds import Build
from pipeline.index.milvus.collection import Collection
from pipeline.publish.tuning import Tuning


@dataclass(frozen=True)
class PublishedEngine:
    """What one engine answers with."""

    build: str
    """The name of its index, below `<engine>/builds/`."""
    model: str
    """The name of the model that made the vectors, below `<engine>/model/`."""
    fingerprint: str
    """Identity of that model."""
    photos: int
    items: int

    @classmethod
    def of(cls, build: Build) -> Self:
        """Return what a publication says of an index."""
        manifest = build.manifest
        return cls(
            build.path.name,
            str(manifest["model"]),
            build.fingerprint,
            int(manifest["rows"]),
            int(manifest["items"]),
        )


@dataclass(frozen=True)
class Publication:
    """What answers queries together; it never changes, and is complete or absent."""

    number: int
    """From 1; never given to another one that has answered."""
    parent: int | None
    """The one that answered when this was published; None for the first."""
    time: str
    """When it was published, in UTC: `2027-01-31T12:00:00+00:00`."""
    generation: int
    """The state of the ledger."""
    engines: Mapping[str, PublishedEngine]
    changes: Mapping[str, int] | None = None
    """How many items were `added`, `changed` and `removed` since the parent, if there is one."""
    checks: Mapping[str, Any] = field(default_factory=dict)
    """What the gate found, engine by engine."""
    faults: tuple[str, ...] = ()
    """Why it must not answer, a sentence each; none if it may."""
    tuning: Tuning | None = None
    """What was measured for it, where the settings ask for that."""
    collections: Mapping[str, Collection] = field(default_factory=dict)
    """Where a Milvus server searches: what it holds of each engine's index."""

    def is_same_as(self, other: Publication | None) -> bool:
        """Whether both have the same items and indexes."""
        return other is not None and (self.generation, self.engines) == (
            other.generation,
            other.engines,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; `tuning` and `collections` only where there are some."""
        content = asdict(self) | {"faults": list(self.faults)}
        for name in ("tuning", "collections"):
            if not content[name]:
                del content[name]
        return content

    @classmethod
    def from_dict(cls, manifest: Manifest) -> Self:
        """Return what `to_dict` was called on.

        Raises:
            KeyError, TypeError: the manifest is of something else.
        """
        manifest = {"collections": {}, "tuning": None, **manifest}
        content = {name: manifest[name] for name in cls.__dataclass_fields__}
        content["engines"] = {n: PublishedEngine(**one) for n, one in content["engines"].items()}
        content["faults"] = tuple(content["faults"])
        content["tuning"] = content["tuning"] and Tuning.from_dict(content["tuning"])
        content["collections"] = {
            name: Collection.from_dict(one) for name, one in content["collections"].items()
        }
        return cls(**content)
