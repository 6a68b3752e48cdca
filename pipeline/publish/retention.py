"""Retention: publications that are kept, and with them all that they need; the rest goes."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.publish.publication import Publication
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


def retire(ws: Workspace) -> None:
    """Remove the publications that need not be kept, unless someone has leased them.

    With them go the indexes and the states of the ledger that no other one needs. The caller holds
    the lock of the publications.
    """
    store = PublicationStore(ws.config)
    kept = retained(store, ws.config.index.keep_publications)
    for number in store.numbers():
        if number not in kept:
            store.remove(number)
    remove_unneeded(ws, store.all())


def remove_unneeded(ws: Workspace, publications: Collection[Publication]) -> None:
    """Remove the indexes and the states of the ledger that none of these publications needs."""
    for name, engine in ws.engines.items():
        engine.builds.remove_unneeded(
            {one.engines[name].build for one in publications if name in one.engines}
        )
    with ws.catalog.transaction():
        ws.catalog.drop_generations({one.generation for one in publications})
