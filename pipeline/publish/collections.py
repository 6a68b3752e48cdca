"""What a Milvus server holds of publications: a collection of each index, aliases for what answers.

A publication names its collections, and who opens it asks these. The aliases are for other
programs, and for people: they follow the publication that answers. Where `index.type` is not
`milvus`, nothing here does anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice

from pipeline.artifacts import digest
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.index import open_build
from pipeline.index.builds import Build
from pipeline.index.milvus.checking import Fault, fault_of, is_ready
from pipeline.index.milvus.collection import MAX_STALE, Collection
from pipeline.index.milvus.columns import changed_rows, columns_digest, row_columns
from pipeline.index.milvus.server import MilvusServer
from pipeline.index.milvus.writing import drop, write_collection
from pipeline.progress import Progress
from pipeline.publish.opening import open_catalog
from pipeline.publish.publication import Publication

_FORMAT = 2  # of collections: part of their names


def check_server(config: Config) -> None:
    """Make sure that the server answers, before work is done that ends there.

    Raises:
        VectorDatabaseError: it does not.
    """
    with _connected(config, is_quick=True) as server:
        if server is not None:
            server.call("list_collections")


def with_collections(
    config: Config, publication: Publication, catalog: Catalog, before: Publication | None
) -> Publication:
    """Return a publication that names a collection for each of its indexes, none of them written.

    `catalog` is its state of the ledger: what the columns say is part of a collection's name. Where
    an index is that of the publication `before`, and few columns are others, so is the collection.
    """
    if config.index.type != "milvus":
        return publication
    collections = {}
    for name, one in publication.engines.items():
        build = Engine(name, config).builds.open(one.build)
        kept = _keep(config, name, build, catalog, before) if before else None
        collections[name] = kept or _describe(config, name, build, catalog)
    return replace(publication, collections=collections)


def write_collections(
    config: Config,
    publication: Publication,
    catalog: Catalog,
    progress: Progress,
    *,
    is_published: bool = False,
) -> Publication:
    """Write the collections of a publication, as far as they are not there, and compare them.

    Where it has been published, those that are loaded were compared then. What is returned says
    what was measured.

    Raises:
        VectorDatabaseError: the server does not do it.
    """
    with _connected(config) as server:
        if server is None:
            return publication
        collections = dict(publication.collections)
        for name, collection in _of_engines(config, publication):
            if is_published and is_ready(server, collection):
                continue
            build = Engine(name, config).builds.open(publication.engines[name].build)
            stale = frozenset(collection.stale)
            columns_of = partial(row_columns, catalog, build.row_items, stale=stale)
            with (
                progress.task(f"{name}: to Milvus", collection.rows, "photos") as advance,
                closing(open_build(build)) as index,
            ):
                collections[name] = write_collection(server, collection, index, columns_of, advance)
        return replace(publication, collections=collections)


def point_aliases(config: Config, publication: Publication) -> None:
    """Let the aliases name the collections of a publication, which is about to answer.

    Raises:
        VectorDatabaseError: one of them is not there, or not loaded.
    """
    with _connected(config) as server:
        if server is None:
            return
        for name, collection in _of_engines(config, publication):
            alias = _alias(config, name)
            if (named := _named(server, alias)) is None:
                server.call("create_alias", collection.name, alias)
            elif named != collection.name:
                server.call("alter_alias", collection.name, alias)


def unneeded_collections(config: Config, publications: Iterable[Publication]) -> list[str]:
    """Return the collections of this catalog that none of these publications names.

    Raises:
        VectorDatabaseError: the server does not answer.
    """
    needed = {one.name for each in publications for one in each.collections.values()}
    with _connected(config, is_quick=True) as server:
        if server is None:
            return []
        aliases = "|".join(_alias(config, engine) for engine in config.engines)
        own = re.compile(rf"({aliases})_[0-9a-f]{{16}}_[0-9a-f]{{16}}")
        names = server.call("list_collections")
    return sorted(name for name in names if name not in needed and own.fullmatch(name))


def drop_collections(config: Config, names: Iterable[str]) -> None:
    """Drop collections, and the aliases that name them, as far as they are there.

    Raises:
        VectorDatabaseError: the server does not do it.
    """
    with _connected(config) as server:
        if server is not None:
            for name in names:
                drop(server, name)


def collection_faults(config: Config, publication: Publication) -> Iterator[tuple[str, Fault]]:
    """Yield the collections of a publication that do not hold what they should, and why.

    Raises:
        VectorDatabaseError: the server does not answer.
    """
    with _connected(config, is_quick=True) as server:
        if server is None:
            return
        for name, collection in _of_engines(config, publication):
            build = Engine(name, config).builds.open(publication.engines[name].build)
            with closing(open_build(build, exact=True)) as index:
                fault = fault_of(server, collection, index)
            if fault:
                yield collection.name, fault


def misled_aliases(config: Config, publication: Publication) -> Iterator[str]:
    """Yield the aliases that do not name the collections of the publication that answers.

    Raises:
        VectorDatabaseError: the server does not answer.
    """
    with _connected(config, is_quick=True) as server:
        if server is None:
            return
        for name, collection in _of_engines(config, publication):
            if _named(server, alias := _alias(config, name)) != collection.name:
                yield alias


def _of_engines(config: Config, publication: Publication) -> list[tuple[str, Collection]]:
    """The collections of a publication whose engines the settings still have."""
    return [(name, one) for name, one in publication.collections.items() if name in config.engines]


def _named(server: MilvusServer, alias: str) -> str | None:
    """The collection that an alias names; None if there is no such alias."""
    if not server.call("has_collection", alias):
        return None
    return str(server.call("describe_collection", alias)["collection_name"])


@contextmanager
def _connected(config: Config, *, is_quick: bool = False) -> Iterator[MilvusServer | None]:
    """Connect, if the server is used; what `is_quick` takes no longer than a query may."""
    if config.index.type != "milvus":
        yield None
        return
    settings = config.index.milvus
    if is_quick:
        settings = settings.model_copy(update={"publish_timeout": settings.timeout})
    with closing(MilvusServer(settings)) as server:
        yield server


def _keep(
    config: Config, engine: str, build: Build, catalog: Catalog, before: Publication
) -> Collection | None:
    """The collection of an earlier publication, if it is of this index and few rows are stale."""
    known = before.collections.get(engine)
    if known is None or not known.name.startswith(_stem(config, engine, build)):
        return None
    with open_catalog(config, before) as then:
        changed = islice(changed_rows(then, catalog, build.row_items), MAX_STALE + 1)
        stale = {*known.stale, *changed}
    return replace(known, stale=tuple(sorted(stale))) if len(stale) <= MAX_STALE else None


def _describe(config: Config, engine: str, build: Build, catalog: Catalog) -> Collection:
    """A new collection of an index, whose name follows from all that is in it."""
    content = digest([_FORMAT, columns_digest(catalog, build.row_items)])
    name = _stem(config, engine, build) + content
    promise = build.manifest["index"].get("recall")  # the build's name follows from it, too
    return Collection(name, len(build.photos), int(build.manifest["dim"]), promise)


def _stem(config: Config, engine: str, build: Build) -> str:
    """What the names of an index's collections begin with."""
    return f"{_alias(config, engine)}_{build.path.name}_"


def _alias(config: Config, engine: str) -> str:
    return f"{_prefix(config)}_{_as_name(engine)}"


def _prefix(config: Config) -> str:
    return config.index.milvus.prefix or _as_name(config.catalog)


def _as_name(name: str) -> str:
    """A name that Milvus takes, which is another one for each name: letters, digits and _."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    is_taken = plain == name and name[:1].isalpha() and len(name) <= 64
    return name if is_taken else f"n{digest(name)[:8]}_{plain[:48]}"
