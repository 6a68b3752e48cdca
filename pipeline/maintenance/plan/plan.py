"""What a catalog of so many items will take, with the settings of now: `imgsearch plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config import Config, TableSettings
from pipeline.errors import QueryError
from pipeline.index.milvus.collection import Collection
from pipeline.index.room import free_disk, total_memory
from pipeline.index.sizes import IndexSize
from pipeline.maintenance.plan import times
from pipeline.maintenance.plan.catalog_facts import DUPLICATE_BYTES, CatalogFacts
from pipeline.maintenance.plan.choose import Choice, Machine, Option, Request, choose
from pipeline.maintenance.plan.networks import TRAINED_SHARE, Network
from pipeline.maintenance.plan.speeds import Speeds

PROMISE = 0.99  # of recall, unless index.recall is another
BYTES_ERROR, TIMES_ERROR, ERROR_ROWS = 0.02, 0.35, 1_000_000
"""How far plans were off at the most, with measured speeds, where benchmarks built and asked what
they had planned: indexes of up to so many vectors (docs/benchmarks.md)."""
HOST_SECONDS = 0.1  # for a photo, by a server that is not asked for too many at a time
DOWNLOAD_CORE_SECONDS = 0.004
UNKNOWN_MEMORY = 16 * 10**9


@dataclass(frozen=True)
class EnginePlan:
    """What one engine takes, whatever the type of index."""

    name: str
    dim: int
    training_seconds: float
    embedding_seconds: float
    query_seconds: float
    """Of a core, for the photo of a query."""
    basis: str
    """What its time for a photo is known by: "measured", "shipped" or "guessed"."""


@dataclass(frozen=True)
class Plan:
    """What a catalog takes: on one machine, but for its queries."""

    catalog: str
    request: Request
    photos: int
    machine: Machine
    free_disk: int | None
    other_disk: int
    """Bytes of the ledger, of photos that are kept, and of what is known of near-duplicates."""
    download_seconds: float
    engines: Sequence[EnginePlan]
    encoding_seconds: float
    """For a photo that is searched with, by all engines."""
    options: Sequence[Option]
    choice: Choice
    is_measured: bool
    errors: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        content = asdict(self)
        choice = {"chosen": self.choice.chosen.name, "why": self.choice.why}
        return content | {"choice": choice | {"exact": self.choice.exact.name}}


def make_plan(
    config: Config,
    networks: Sequence[Network],
    facts: CatalogFacts,
    speeds: Speeds,
    request: Request,
) -> Plan:
    """Plan for the engines of some settings: those that are given.

    make_plan(config, networks, catalog_facts(config), SHIPPED, Request(10**7)).choice.chosen
    """
    photos = max(1, round(request.items * facts.photos_per_item))
    machine = Machine(speeds.cores, total_memory() or UNKNOWN_MEMORY)
    engines = [_engine(one, networks, photos, speeds) for one in networks]
    options = [
        _option(kind, recall, config, engines, photos, speeds, request, machine)
        for kind, recall in _kinds(config)
    ]
    other = request.items * facts.ledger_bytes + photos * facts.photo_bytes
    other += photos * DUPLICATE_BYTES if config.finds_duplicates else 0
    return Plan(
        config.catalog,
        request,
        photos,
        machine,
        free_disk(config.folder),
        round(other),
        _download_seconds(config, photos, speeds),
        engines,
        sum(one.query_seconds for one in engines) / speeds.cores,
        options,
        choose(options, request),
        speeds.is_measured,
        {"bytes": BYTES_ERROR, "times": TIMES_ERROR, "vectors": ERROR_ROWS},
    )


def count_items(facts: CatalogFacts) -> int:
    """Return how many items a catalog has.

    Raises:
        QueryError: it has none.
    """
    if not facts.items:
        raise QueryError("there is no catalog yet", where="--items", hint="say how many: 300k")
    return facts.items


def _kinds(config: Config) -> Iterator[tuple[str, float | None]]:
    """Types of index and promises of recall, the simplest first."""
    recall = config.index.recall or PROMISE
    yield from (("flat", None), ("pruned", None), ("pruned", recall))
    yield from (("milvus", None), ("milvus", recall))


def _engine(one: Network, all_: Sequence[Network], photos: int, speeds: Speeds) -> EnginePlan:
    known = speeds.engines.get(one.name)
    photo_seconds, query_seconds = one.photo_seconds, one.query_seconds
    is_measured = known is not None and known.photo_seconds is not None
    if known and known.photo_seconds is not None:
        photo_seconds = known.photo_seconds
        query_seconds = known.query_seconds or photo_seconds
    if one.sees_photos:
        embedding = photos * (speeds.decode_seconds + photo_seconds) / speeds.cores
    else:
        widest = max(other.dim for other in all_)
        embedding = photos * (speeds.seal_row + 4 * widest * speeds.seal_byte)
        embedding += photos * 2.0 * widest * one.dim / speeds.encode_flops
    training = one.epochs * TRAINED_SHARE * photos * one.step_seconds / speeds.cores
    query_seconds += speeds.decode_seconds if one.sees_photos else 0
    basis = "measured" if is_measured else "shipped" if one.is_known else "guessed"
    return EnginePlan(
        one.name, known.dim if known else one.dim, training, embedding, query_seconds, basis
    )


def _option(
    kind: str,
    recall: float | None,
    config: Config,
    engines: Sequence[EnginePlan],
    photos: int,
    speeds: Speeds,
    request: Request,
    machine: Machine,
) -> Option:
    """Add up what the engines' indexes take, each asked one after the other."""
    sizes = [
        times.sized(kind, photos, one.dim, recall, speeds.engines.get(one.name)) for one in engines
    ]
    encoding = sum(one.query_seconds for one in engines)
    memory, shared = sum(size.memory for size in sizes), 0
    if kind == "milvus":
        server = sum(_collection(size, recall).memory for size in sizes)
        memory = shared = config.index.milvus.replicas * server
    holding = machine.count(0.0, request.qps, shared)
    queries = [_query(kind, recall, size, speeds, holding) for size in sizes]
    seconds = encoding + sum(query.median for query in queries)
    building = times.milvus_seconds if shared else times.index_seconds
    disk = sum(size.disk for size in sizes)
    return Option(
        name=_name(kind, recall),
        is_exact=recall is None,
        disk=disk,
        building_disk=disk + max(size.vectors for size in sizes),
        memory=memory,
        build_seconds=sum(building(size, recall, speeds) for size in sizes),
        query_seconds=seconds,
        p95=encoding / speeds.cores + sum(query.p95 for query in queries),
        machines=machine.count(seconds, request.qps, shared),
        fits=bool(shared) or machine.holds(memory),
    )


def _query(
    kind: str, recall: float | None, size: IndexSize, speeds: Speeds, machines: int
) -> times.QueryTime:
    if kind == "milvus":
        return times.milvus_query(size, recall, speeds, machines)
    query = times.exact_query if recall is None else times.promised_query
    return query(size, speeds)


def _collection(size: IndexSize, recall: float | None) -> Collection:
    return Collection("", size.rows, size.dim, recall)


def _name(kind: str, recall: float | None) -> str:
    return kind if recall is None else f"{kind}, recall {recall:g}"


def _download_seconds(config: Config, photos: int, speeds: Speeds) -> float:
    """Seconds to fetch all photos from one host; 0 where a source has no URLs."""
    if not isinstance(config.source, TableSettings):
        return 0.0
    settings = config.download
    at_once = min(settings.per_host, settings.concurrency)
    rate = min(at_once / HOST_SECONDS, speeds.cores / DOWNLOAD_CORE_SECONDS)
    if settings.requests_per_second is not None:
        rate = min(rate, settings.requests_per_second)
    return photos / rate
