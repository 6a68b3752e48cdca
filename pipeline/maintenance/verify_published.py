"""Verify what is published: the pointer, the tags, and that all of each publication is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.errors import DamagedArtifactError, VectorDatabaseError
from pipeline.integrity import damaged_files
from pipeline.maintenance.problems import Problem, Remedy, problem_of
from pipeline.publish.collections import collection_faults, misled_aliases
from pipeline.publish.publication import Publication
from pipeline.publish.store import PublicationStore


def publication_problems(config: Config, generations: Collection[int]) -> Iterator[Problem]:
    """Yield the problems of all publications, given the states that the ledger keeps.

    list(publication_problems(config, catalog.sealed_generations()))
    """
    store = PublicationStore(config)
    yield from _pointers(store)
    for number in store.numbers():
        folder = store.folder / str(number)
        if damages := [problem_of(error, path) for path, error in damaged_files(folder)]:
            yield from damages
            continue
        try:
            publication = store.get(number)
        except DamagedArtifactError as error:
            yield problem_of(error, folder)
        else:
            for fault in _missing(config, publication, generations) if publication else ():
                yield Problem(folder, fault, Remedy.DELETE)


def _pointers(store: PublicationStore) -> Iterator[Problem]:
    """Problems of what says which publications answer, and what they are called."""
    try:
        number = store.current_number()
        if number is None:
            yield Problem(store.config.folder, "nothing is published yet")
        elif number not in store.numbers():
            yield Problem(store.current_file, f"names publication {number}, which is not here")
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, store.current_file)
    try:
        store.tags()
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, store.tags_file)


def _missing(
    config: Config, publication: Publication, generations: Collection[int]
) -> Iterator[str]:
    """What a publication needs, and is not there."""
    if publication.generation not in generations:
        yield f"the ledger does not keep its generation {publication.generation}"
    for name, published in publication.engines.items():
        folder = Engine(name, config).folder
        for path in (folder / "builds" / published.build, folder / "model" / published.model):
            if not path.exists():
                yield f"{path} is missing"


def collection_problems(config: Config) -> Iterator[Problem]:
    """Yield what is wrong with what a Milvus server holds of publications that are there and whole.

    One problem says so if it does not answer: `list(collection_problems(config))`.
    """
    store, server = PublicationStore(config), config.index.milvus.uri
    try:
        for publication in store.all():
            for name, fault in collection_faults(config, publication):
                remedy = Remedy.REWRITE if fault.is_content else Remedy.BUILD
                yield Problem(server, f"{name} {fault.what}", remedy, collection=name)
        if (answering := store.current()) is not None:
            for alias in misled_aliases(config, answering):
                yield Problem(server, f"the alias {alias} names another collection or none")
    except VectorDatabaseError as error:
        yield Problem(error.where or server, error.message, Remedy.WAIT)
