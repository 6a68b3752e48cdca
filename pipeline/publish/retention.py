"""Retention: publications that are kept, and with them all that they need; the rest goes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from pipeline.artifacts import remove
from pipeline.engine import Engine
from pipeline.publish.collections import drop_collections, unneeded_collections
from pipeline.publish.publication import Publication, PublishedEngine
from pipeline.publish.store import PublicationStore
from pipeline.workspace import Workspace


def retained(store: PublicationStore, keep: int) -> set[int]:
    """Return the numbers of the publications that stay though no one uses them.

    They are the one that answers with the newest others, `keep` in all; the newest, whose number
    must not be given out again; those with a tag; and one that the gate has refused since.
    """
    pointer = store.pointer()
    if pointer is None:
        return set(store.numbers())
    others = [number for number in store.numbers() if number != pointer.publication]
    published = [number for number in others if number <= pointer.newest]
    aside = [number for number in others if number > pointer.newest]
    latest = sorted(published, reverse=True)[: keep - 1]
    return {*pointer, *latest, *aside, *store.tags().values()}


@contextmanager
def retiring(store: PublicationStore, keep: int) -> Iterator[list[int]]:
    """Yield the numbers of those that need not be kept, unless someone has leased them.

    No one can lease them while the block runs, which may remove them. The caller holds the lock of
    the publications.
    """
    kept = retained(store, keep)
    with ExitStack() as stack:
        yield [
            number
            for number in store.numbers()
            if number not in kept and stack.enter_context(store.held_for_removal(number))
        ]


def retire(ws: Workspace) -> None:
    """Remove the publications that need not be kept.

    With them go the indexes and the states of the ledger that no other one needs. The caller holds
    the lock of the publications.
    """
    store = PublicationStore(ws.config)
    with retiring(store, ws.config.index.keep_publications) as numbers:
        for number in numbers:
            remove(store.folder / str(number))
        remove_unneeded(ws, store.all())
    drop_collections(ws.config, unneeded_collections(ws.config, store.all()))


def remove_unneeded(ws: Workspace, publications: Collection[Publication]) -> None:
    """Remove the indexes and the states of the ledger that none of these publications needs."""
    for name, engine in ws.engines.items():
        published = [one.engines[name] for one in publications if name in one.engines]
        engine.builds.remove_unneeded({one.build for one in published})
        _remove_retrained(engine, published)
    with ws.catalog.transaction():
        ws.catalog.drop_generations({one.generation for one in publications})


def _remove_retrained(engine: Engine, published: Collection[PublishedEngine]) -> None:
    """Remove models in whose place others were trained by the same settings, and their vectors.

    Those by other settings stay until `imgsearch clean`: going back to them is then cheap.
    """
    current = engine.models.current()
    if current is None:
        return
    needed = {current.path.name, *(one.model for one in published)}
    fingerprints = {current.fingerprint, *(one.fingerprint for one in published)}
    for path in engine.models.folders():
        model = None if path.name in needed else engine.models.open(path.name)
        if model and model.recipe == current.recipe:
            remove(path)
            if model.fingerprint not in fingerprints:
                remove(engine.embeddings(model.fingerprint).folder)
