"""Open a publication: its state of the ledger, and what each engine answers with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.config.schema import DUPLICATES
from pipeline.engine import Engine
from pipeline.errors import NotBuiltError
from pipeline.index.builds import Build
from pipeline.publish.publication import Publication
from pipeline.publish.store import PublicationStore

if TYPE_CHECKING:
    from pipeline.duplicates.near_duplicates import NearDuplicates


@dataclass(frozen=True)
class OpenPublication:
    """A publication, which is not removed while it is open, and its state of the ledger."""

    publication: Publication
    catalog: Catalog
    """The ledger as it was, for reading from several threads."""
    loaded: dict[Path, Any] = field(default_factory=dict)
    """What its engines have loaded and share: a model's folder → the model."""

    @cached_property
    def duplicates(self) -> NearDuplicates:
        """What tells near-duplicates among its photos, read when it is first asked for.

        It belongs to the contents of photos, not to a publication: a photo that has not been
        compared yet is a near-duplicate of none.

        Raises:
            NotBuiltError: no build has looked for near-duplicates.
            DamagedArtifactError: what was kept is not what was written.
        """
        from pipeline.duplicates.near_duplicates import NearDuplicates
        from pipeline.duplicates.store import DuplicateStore

        known = DuplicateStore(self.catalog.folder / DUPLICATES).read()
        if known is None:
            raise NotBuiltError(
                "no build has looked for near-duplicates",
                where=self.catalog.folder,
                hint="set `duplicates: true` and run `imgsearch build`",
            )
        return NearDuplicates(known)

    def build_of(self, engine: Engine) -> Build:
        """Return the index by which an engine answers.

        Raises:
            NotBuiltError: the publication has none of this engine.
            DamagedArtifactError: it is gone, or not what was written.
        """
        published = self.publication.engines.get(engine.name)
        if published is None:
            raise NotBuiltError(
                f"publication {self.publication.number} has no index of {engine.name}",
                where=engine.folder,
                hint="run `imgsearch build`",
            )
        return engine.builds.open(published.build)


@contextmanager
def open_publication(config: Config, wanted: int | str | None = None) -> Iterator[OpenPublication]:
    """Open a publication by its number or tag, else the one that answers.

        with open_publication(config) as opened: opened.catalog.item(7)

    Raises:
        NotBuiltError: nothing is published yet.
        QueryError: there is no such publication.
        DamagedArtifactError: it is not what was written.
    """
    store = PublicationStore(config)
    with (
        store.leased(wanted) as publication,
        open_catalog(config, publication) as catalog,
    ):
        catalog.keep_columns(store.columns_folder(publication.number))
        yield OpenPublication(publication, catalog)


def open_catalog(config: Config, publication: Publication) -> Catalog:
    """Open a publication's state of the ledger, for reading from several threads."""
    return Catalog(config.folder, any_thread=True, generation=publication.generation)
