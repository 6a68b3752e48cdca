"""A query → its answer as JSON: the photo is decoded, encoded and searched with."""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO, TypeVar

import numpy as np

from pipeline.search.query import Item, Options, Query, RegionOf, Text
from pipeline.search.searcher import PreparedQueries, Searcher
from pipeline.service.decoding import read_all
from pipeline.service.problems import HttpProblem
from pipeline.service.published import Published
from pipeline.service.queries import SearchInput, SearchOptions, SearchRequest
from pipeline.service.resources import Resources

T = TypeVar("T")


async def answer(resources: Resources, published: Published, given: SearchInput) -> dict[str, Any]:
    """Return what `SearchResult.to_dict()` has for a request, and by which state it was answered.

    Raises:
        HttpProblem, PipelineError: it cannot be answered.
    """
    options = given.options
    if options.k > resources.config.serve.max_k:
        message = f"k is {options.k}, the limit is {resources.config.serve.max_k}"
        raise HttpProblem(400, "query", message, "use `where` to ask for fewer items")
    searcher = published.searcher.select(options.engines)
    query, upload = await _query(resources, searcher, given)
    result = await in_search_pool(resources, lambda: _search(resources, searcher, query, options))
    return result | ({"upload": upload} if upload else {})


async def in_search_pool(resources: Resources, work: Callable[[], T]) -> T:
    """Run what takes long, and no model, on one of the threads for searching."""
    return await asyncio.get_running_loop().run_in_executor(resources.search_pool, work)


async def _query(
    resources: Resources, searcher: Searcher, given: SearchInput
) -> tuple[Query, str | None]:
    """Return what is searched with, and the name of its photo, if that is kept."""
    region = given.options.region
    if given.photo is not None:
        return await _encode(resources, searcher, given.photo, region)
    request = given.request
    if request.url is not None:
        data = await resources.fetcher.fetch(request.url)
        return await _encode(resources, searcher, io.BytesIO(data), region)
    if request.upload is not None:
        data = await in_search_pool(resources, partial(resources.uploads.read, request.upload))
        return await _encode(resources, searcher, io.BytesIO(data), region)
    if request.item is not None:
        return Item(request.item), None
    if request.vector is None:
        return Text(request.text or ""), None
    with np.errstate(over="ignore"):  # what is infinite then is refused
        return np.array(request.vector, np.float32), None


async def _encode(
    resources: Resources, searcher: Searcher, photo: BinaryIO, region: RegionOf | None
) -> tuple[Query, str | None]:
    limits = resources.limits

    def prepare(data: bytes) -> tuple[PreparedQueries, str | None]:
        prepared = searcher.prepare(data, region)
        return prepared, resources.uploads.keep(data) if resources.uploads.is_on else None

    read = partial(read_all, photo, limits)
    with resources.encoder.announced():
        prepared, upload = await resources.decoder.run(read, limits, prepare)
    return await resources.encoder.encode(searcher, prepared), upload


def _search(
    resources: Resources, searcher: Searcher, query: Query, options: SearchOptions
) -> dict[str, Any]:
    searched: Options = {
        "where": options.where,
        "group_by": options.group_by,
        "collapse": options.collapse,
        "min_distance": options.min_distance,
        "max_distance": math.inf if options.max_distance is None else options.max_distance,
        "text": None if isinstance(query, Text) else options.text,
        "look": isinstance(options, SearchRequest) and options.look,
        "like": options.like,
        "unlike": options.unlike,
        "refine": options.refine,
    }
    found = searcher.search(query, options.k, region=options.region, fuse=options.fuse, **searched)
    result = found.to_dict()
    if not resources.config.serve.show_paths:
        lists = [found["hits"] for found in result["engines"].values()]
        lists += [result.get("fused", []), result.get("text", [])]
        for hit in (hit for hits in lists for hit in hits):
            hit["photo"] = None
    return result
