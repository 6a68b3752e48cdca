"""Every stage in order, each only where it is out of date. Read this first.

source → photos → models → vectors → indexes → a publication, which answers
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal, get_args

from pipeline.artifacts import write_atomic, write_sealed
from pipeline.catalog.ingest import IngestReport, hold, ingest
from pipeline.config import Config
from pipeline.download.download import DownloadReport, download, download_page
from pipeline.duplicates.update import update_duplicates
from pipeline.embedding import embed_photos
from pipeline.embeddings.embed import EmbedReport
from pipeline.embeddings.runners import check_runner, open_runner
from pipeline.engine import Engine
from pipeline.errors import HeldError, SourceError, SourceGoneError
from pipeline.evaluation.gate import judge
from pipeline.evaluation.tune import tune
from pipeline.index.builds import Build
from pipeline.models.store import ModelFolder, random_weights_warning
from pipeline.progress import SILENT, Progress
from pipeline.publish.collections import check_server
from pipeline.publish.publish import PublishReport, publish
from pipeline.sources.base import Source
from pipeline.training import check_trainable, fetch_weights, train_if_stale
from pipeline.workspace import Workspace

Stage = Literal["ingest", "download", "train", "embed", "index"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass
class EngineReport:
    """What a run did for one engine; None where a stage did not run."""

    model: ModelFolder | None = None
    new_model: bool = False
    embedding: EmbedReport | None = None
    build: Build | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "model": self.model.fingerprint if self.model else None,
            "new_model": self.new_model,
            "random_weights": bool(self.model and self.model.has_random_weights),
            "vectors": asdict(self.embedding) if self.embedding else None,
            "build": self.build.path.name if self.build else None,
            "rows": self.build.manifest["rows"] if self.build else None,
        }


@dataclass
class BuildReport:
    """What a run did; None where a stage did not run."""

    ingest: IngestReport | None = None
    download: DownloadReport | None = None
    engines: dict[str, EngineReport] = field(default_factory=dict)
    publication: PublishReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        content: dict[str, Any] = {}
        if self.ingest:
            content["ingest"] = self.ingest.to_dict()
        if self.download:
            content["download"] = asdict(self.download)
        content["engines"] = {name: engine.to_dict() for name, engine in self.engines.items()}
        if self.publication:
            content["publication"] = self.publication.to_dict()
        return content


def build(
    config: Config,
    stages: Collection[Stage] = STAGES,
    progress: Progress = SILENT,
    *,
    retry_failed: bool = False,
    accept_removals: bool = False,
    restrict: Callable[[Source], Source] | None = None,
    report: BuildReport | None = None,
) -> BuildReport:
    """Bring a catalog's artifacts up to date, and say what was done: `build(load_config(file))`.

    With `retry_failed`, the download tries the photos that failed before, and only those. With
    `accept_removals`, items go however many are no longer in the source. Ingest reads what
    `restrict` makes of the source, if given. A `report` that is passed in is filled stage by stage,
    so it also tells how far a run came that did not finish.

    Raises:
        HeldError: so much is gone from the source that nothing was ingested.
        PipelineError: with what is wrong, where, and what to do; what is finished stays finished.
    """
    report = report or BuildReport()
    report.engines |= {name: EngineReport() for name in config.engines}
    with Workspace.locked(config, create="ingest" in stages) as ws:
        limits, decoders = ws.image_limits, config.embedding.decoders
        _prepare(ws, stages, report, progress)
        if "ingest" in stages:
            report.ingest = _ingest(ws, progress, accept_removals, restrict)
            _check_not_held(ws, report.ingest)
        if "download" in stages:
            report.download = download(
                ws.catalog,
                config.download,
                limits,
                decoders,
                retry_failed=retry_failed,
                fetch=open_runner(config.runner).fetch,
                progress=progress,
            )
            _write_summary(ws, report.download)
            if len(stages) > 1:
                _check_any_photo(ws, report.download)
        for engine in ws.engines_sources_first if "train" in stages else ():
            check_trainable(engine, ws.catalog)  # before others take their time
        for engine in ws.engines_sources_first:
            _run_engine(ws, engine, stages, report.engines[engine.name], progress)
        if "index" in stages and config.finds_duplicates:
            update_duplicates(ws.catalog, ws.duplicates, limits, decoders, progress)
        if "index" in stages:
            gate = partial(judge, config, accept_losses=accept_removals)
            report.publication = publish(ws, gate, partial(tune, config), progress)
    _warn_of_random_weights(report, progress)
    return report


def _prepare(
    ws: Workspace, stages: Collection[Stage], report: BuildReport, progress: Progress
) -> None:
    """Do first what may fail: what cannot work fails before any work."""
    if "embed" in stages:
        check_runner(ws.config.runner)
    if "index" in stages:
        check_server(ws.config)
    for engine in ws.pretrained_engines if "train" in stages else ():
        done = report.engines[engine.name]
        done.model, done.new_model = fetch_weights(engine, progress)


def _run_engine(
    ws: Workspace,
    engine: Engine,
    stages: Collection[Stage],
    done: EngineReport,
    progress: Progress,
) -> None:
    if "train" in stages and engine.is_trained:
        done.model, done.new_model = train_if_stale(engine, ws.catalog, progress)
    if "embed" in stages or ("train" in stages and engine.name in ws.sources):
        done.model, done.embedding = engine.model, embed_photos(engine, ws.catalog, progress)
    if "index" in stages:
        done.model, done.build = engine.model, engine.build_index(ws.catalog, progress)


def _ingest(
    ws: Workspace,
    progress: Progress,
    accept_removals: bool,
    restrict: Callable[[Source], Source] | None,
) -> IngestReport:
    try:
        source = restrict(ws.source) if restrict else ws.source
    except SourceGoneError as gone:
        return hold(ws.catalog, gone)
    return ingest(
        source,
        ws.catalog,
        ws.image_limits,
        ws.config.embedding.decoders,
        progress,
        accept_removals=accept_removals,
    )


def _check_not_held(ws: Workspace, report: IngestReport) -> None:
    """Stop where the source may be out of reach: what answers is better than what would.

    Raises:
        HeldError: it may be.
    """
    if report.held:
        raise HeldError(
            f"held, nothing was changed: {report.held}",
            where=ws.config.folder,
            hint="bring the source back; if that is how it should be,"
            " run `imgsearch publish --accept-removals`",
        )


def _warn_of_random_weights(report: BuildReport, progress: Progress) -> None:
    for name, done in report.engines.items():
        if done.model and done.model.has_random_weights:
            progress.note(random_weights_warning(name, done.model))


def _write_summary(ws: Workspace, report: DownloadReport) -> None:
    """Write what became of the downloads beside the ledger, for programs and for people."""
    if report.counts:
        page = download_page(report).encode()
        checksum = {"page_sha256": hashlib.sha256(page).hexdigest()}
        write_sealed(ws.config.folder / "download.json", asdict(report) | checksum)
        write_atomic(ws.config.folder / "download.md", page)


def _check_any_photo(ws: Workspace, report: DownloadReport) -> None:
    """Stop where not a single photo could be downloaded: later stages would say so less clearly.

    Raises:
        SourceError: there are photos at URLs, and none is available.
    """
    if not report.counts or ws.catalog.photo_count():
        return
    reasons = Counter[str]()
    for by_reason in report.trouble.values():
        reasons.update(by_reason)
    worst = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(3))
    raise SourceError(
        f"no photo could be had ({worst})",
        where=ws.config.folder,
        hint="see download.md there, then `imgsearch download --retry-failed`",
    )
