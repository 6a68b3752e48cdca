"""Publish: the ledger and the indexes as they are now → `publications/<n>/`, CURRENT.

What is written is checked by a gate before it answers; what it refuses is kept aside, and nothing
that answers changes. Killed at any instant, a whole publication answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pipeline.artifacts import remove
from pipeline.catalog.column_store import carry_columns
from pipeline.errors import BusyError, GateError
from pipeline.locks import lock
from pipeline.progress import SILENT, Progress
from pipeline.publish.collections import point_aliases, with_collections, write_collections
from pipeline.publish.opening import OpenPublication, open_catalog
from pipeline.publish.publication import Publication, PublishedEngine
from pipeline.publish.retention import retire
from pipeline.publish.store import PublicationStore
from pipeline.publish.tuning import Tuning, tuning_settings
from pipeline.workspace import Workspace


class GateVerdict(NamedTuple):
    """What the gate says of a publication."""

    checks: Mapping[str, Any]
    """What was measured, engine by engine."""
    faults: tuple[str, ...] = ()
    """Why it must not answer; none if it may."""


Gate = Callable[[OpenPublication, Publication | None], GateVerdict]
"""Judges a publication that is to answer, beside the one that answers now."""
Tune = Callable[[OpenPublication, Publication | None], Tuning | None]
"""Measures what settings ask for, or takes it over from the publication that answers now."""


@dataclass(frozen=True)
class PublishReport:
    """What publishing ended with."""

    publication: Publication
    """The one that holds what was built."""
    is_new: bool
    answering: int
    """The number of the one that answers: another one where that was rolled back to."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        number = self.publication.number
        return {"number": number, "new": self.is_new, "answering": self.answering}


def publish(
    ws: Workspace, gate: Gate, tune: Tune = lambda *_: None, progress: Progress = SILENT
) -> PublishReport:
    """Publish what has been built, unless it is published already.

        publish(workspace, partial(judge, config), partial(tune, config)).answering

    Raises:
        GateError: the gate refuses it; what answered before answers.
        BusyError: what the gate refused before is open, and would be replaced.
        NotBuiltError: an engine has no index yet.
        VectorDatabaseError: `index.type` is `milvus`, and the server does not hold what it should.
    """
    store = PublicationStore(ws.config)
    while (report := _publish(ws, gate, tune, store, progress)) is None:
        pass
    return report


def _publish(
    ws: Workspace, gate: Gate, tune: Tune, store: PublicationStore, progress: Progress
) -> PublishReport | None:
    """Do what `publish` does; None where what was kept aside was forced meanwhile."""
    pointer = store.last_pointer()
    answering, aside = store.get(pointer.publication), store.get(pointer.newest + 1)
    candidate = _candidate(ws, answering, pointer.newest + 1)
    for published in (answering, store.get(pointer.newest)):
        if published and _is_published(ws, candidate, published):
            return _keep(ws, store, published, progress)
    if aside and not aside.faults and _is_published(ws, candidate, aside):
        judged = aside  # a run was killed before it could answer
        _restore_collections(ws, judged, progress, is_published=False)
    else:
        judged = _judge(ws, gate, tune, candidate, answering, progress)
    with lock(store.folder, wait=True):  # not before, as going back must not wait for the gate
        if store.last_pointer().newest != pointer.newest:
            return None
        _write(store, judged, aside)
        _keep_columns(ws, store, answering, judged)
        point_aliases(ws.config, judged)
        store.use(judged.number)
        retire(ws)
    return PublishReport(judged, True, judged.number)


def _keep(
    ws: Workspace, store: PublicationStore, published: Publication, progress: Progress
) -> PublishReport:
    """Let what answers do so; where that was deleted, or the pointer was, what is published."""
    for one in store.all():  # as any of them may be rolled back to
        if one.collections:
            _restore_collections(ws, one, progress, is_published=True)
    with lock(store.folder, wait=True):
        answering = store.current()
        point_aliases(ws.config, answering or published)
        if answering is None:
            store.use(published.number)
        retire(ws)
    number = answering.number if answering else published.number
    return PublishReport(published, False, number)


def _is_published(ws: Workspace, candidate: Publication, published: Publication) -> bool:
    """Whether a publication has what the candidate has, and what the settings want measured."""
    wanted = tuning_settings(ws.config)
    is_tuned = not wanted or (published.tuning and published.tuning.settings == wanted)
    return bool(is_tuned) and candidate.is_same_as(published)


def _restore_collections(
    ws: Workspace, published: Publication, progress: Progress, *, is_published: bool
) -> None:
    with open_catalog(ws.config, published) as catalog:
        write_collections(ws.config, published, catalog, progress, is_published=is_published)


def _candidate(ws: Workspace, answering: Publication | None, number: int) -> Publication:
    """What would answer, if it were published now."""
    builds = {name: engine.current_build() for name, engine in ws.engines.items()}
    return Publication(
        number=number,
        parent=answering.number if answering else None,
        time=now(),
        generation=ws.catalog.seal_generation(),
        engines={name: PublishedEngine.of(build) for name, build in builds.items()},
    )


def _judge(
    ws: Workspace,
    gate: Gate,
    tune: Tune,
    candidate: Publication,
    answering: Publication | None,
    progress: Progress,
) -> Publication:
    """Return a publication with what the gate says of it, and what was measured for it."""
    if answering:
        generations = answering.generation, candidate.generation
        candidate = replace(candidate, changes=ws.catalog.generation_changes(*generations))
    with open_catalog(ws.config, candidate) as catalog:
        candidate = with_collections(ws.config, candidate, catalog, answering)
        candidate = write_collections(ws.config, candidate, catalog, progress)
        verdict = gate(OpenPublication(candidate, catalog), answering)
        judged = replace(candidate, checks=verdict.checks, faults=verdict.faults)
        is_tuned = not verdict.faults
        tuning = tune(OpenPublication(judged, catalog), answering) if is_tuned else None
    return replace(judged, tuning=tuning)


def _write(store: PublicationStore, judged: Publication, aside: Publication | None) -> None:
    """Write a publication in the place of one that never answered.

    Raises:
        GateError: it must not answer; it is kept aside.
        BusyError: someone has that one open.
    """
    if aside is None or replace(judged, time=aside.time) != aside:
        with store.held_for_removal(judged.number) as is_free:
            if not is_free:
                what, hint = "publication {} is in use", "end what searches in it, then try again"
                raise BusyError(what.format(judged.number), where=store.folder, hint=hint)
            remove(store.folder / str(judged.number))
        store.write(judged)
    if judged.faults:
        raise GateError(
            f"not published: {'; '.join(judged.faults)}",
            where=store.folder / str(judged.number),
            hint="mend it and run `imgsearch build`, or `imgsearch publish --force`",
        )


def _keep_columns(
    ws: Workspace, store: PublicationStore, answering: Publication | None, published: Publication
) -> None:
    """Have a publication begin with the columns that are kept of the one before it."""
    folder = store.columns_folder(published.number)
    # It is the ledger that says of which publication it was the ledger.
    if answering and ws.catalog.get_meta("published") == _state_of(answering):
        carry_columns(store.columns_folder(answering.number), folder)
    with open_catalog(ws.config, published) as catalog:
        catalog.keep_columns(folder)
        catalog.columns.prepare()
    with ws.catalog.transaction():
        ws.catalog.set_meta("published", _state_of(published))


def _state_of(publication: Publication) -> str:
    return f"{publication.number} {publication.generation} {publication.time}"


def now() -> str:
    """Return the time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
