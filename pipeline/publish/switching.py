"""Let another publication answer: an earlier one, a later one, or one that the gate refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.errors import GateError, NotBuiltError, QueryError
from pipeline.locks import lock
from pipeline.publish.collections import point_aliases
from pipeline.publish.publication import Publication
from pipeline.publish.store import Pointer, PublicationStore

_LIST = "`imgsearch publications` lists those that are kept"


def roll_back(config: Config, wanted: int | str | None = None) -> Publication:
    """Let the parent of the publication that answers do so, or another by its number or tag.

    It is not waited for a build that is running, which may publish afterwards.

        roll_back(config)  # and forward again: roll_back(config, 7)

    Raises:
        QueryError: there is no such publication, or the one that answers has no parent.
        GateError: the gate refused it, so it has never answered.
        NotBuiltError: nothing is published yet, or an index of it is not there.
        DamagedArtifactError: it is not what was written.
        VectorDatabaseError: `index.type` is `milvus`, and the server does not let it answer.
    """
    with changing(config) as (store, pointer):
        if wanted is None:
            wanted = _parent(store, pointer)
        publication = store.get(store.number_of(wanted))
        assert publication is not None  # noqa: S101  its number was found
        if publication.number > pointer.newest:
            raise GateError(
                f"publication {publication.number} has never answered",
                where=store.folder / str(publication.number),
                hint="run `imgsearch publish --force` to let it",
            )
        _check_there(config, publication)
        point_aliases(config, publication)
        store.use(publication.number)
    return publication


def force(config: Config) -> Publication:
    """Let the publication answer that the gate has refused, and kept aside: `force(config)`.

    Raises:
        QueryError: there is none.
        NotBuiltError, DamagedArtifactError, VectorDatabaseError: as `roll_back`.
    """
    with changing(config) as (store, pointer):
        publication = store.get(pointer.newest + 1)
        if publication is None:
            raise QueryError("no publication is kept aside", where=store.folder)
        _check_there(config, publication)
        point_aliases(config, publication)
        store.use(publication.number)
    return publication


@contextmanager
def changing(config: Config) -> Iterator[tuple[PublicationStore, Pointer]]:
    """Hold the publications of a catalog as they are while the block changes them.

    Raises:
        NotBuiltError: there are none yet.
    """
    store = PublicationStore(config)
    if not store.numbers():
        what, hint = "nothing is published yet", "run `imgsearch build`"
        raise NotBuiltError(what, where=config.folder, hint=hint)
    with lock(store.folder, wait=True):
        yield store, store.last_pointer()


def _parent(store: PublicationStore, pointer: Pointer) -> int:
    current = store.get(pointer.publication)
    if current is None or current.parent is None:
        raise QueryError(
            f"publication {pointer.publication} has no parent",
            where=store.folder,
            hint=_LIST,
        )
    if store.get(current.parent) is None:
        raise QueryError(
            f"publication {current.parent}, the parent of {current.number}, is not kept any more",
            where=store.folder,
            hint=_LIST,
        )
    return current.parent


def _check_there(config: Config, publication: Publication) -> None:
    """Check that what a publication answers with is on the disk."""
    for name, published in publication.engines.items():
        if name in config.engines:
            engine = Engine(name, config)
            engine.model_of(engine.builds.open(published.build))
