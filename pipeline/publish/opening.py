"""Open a publication: its state of the ledger, and what each engine answers with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.errors import NotBuiltError
from pipeline.index.builds import Build
from pipeline.publish.publication import Publication
from pipeline.publish.store import PublicationStore


@dataclass(frozen=True)
class OpenPublication:
    """A publication, which is not removed while it is open, and its state of the ledger."""

    publication: Publication
    catalog: Catalog
    """The ledger as it was, for reading from several threads."""

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
