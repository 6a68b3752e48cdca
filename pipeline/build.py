"""All stages in order, each only where it is out of date: config → indexes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from pipeline import models, sources
from pipeline.artifacts import lock, sweep, write_atomic, write_json
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import IngestReport, ingest
from pipeline.catalog.pixel_files import PixelFolder
from pipeline.config import AutoencoderSettings, Config, PretrainedSettings
from pipeline.download.download import DownloadReport, download
from pipeline.download.summary import download_page
from pipeline.embeddings.embed import EmbedReport, embed
from pipeline.errors import NotBuiltError, SourceError
from pipeline.images import ImageLimits
from pipeline.index.build import build_index
from pipeline.index.builds import Build
from pipeline.models import pretrained
from pipeline.models.autoencoder import TeacherVectors, covers, remove_unfinished, train
from pipeline.models.store import ModelFolder, random_weights_warning
from pipeline.progress import SILENT, Progress
from pipeline.sources.base import Source
from pipeline.workspace import EngineFolder

Stage = Literal["ingest", "download", "train", "embed", "index"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass
class EngineReport:
    """What a run did for one engine; None where a stage did not run."""

    model: ModelFolder | None = None
    new_model: bool = False
    embedding: EmbedReport | None = None
    build: Build | None = None


@dataclass
class Report:
    """What a run did."""

    ingest: IngestReport | None = None
    download: DownloadReport | None = None
    engines: dict[str, EngineReport] = field(default_factory=dict)


def build(
    config: Config,
    stages: Collection[Stage] = STAGES,
    progress: Progress = SILENT,
    *,
    retry_failed: bool = False,
    report: Report | None = None,
) -> Report:
    """Bring a catalog's artifacts up to date, and say what was done.

    With `retry_failed`, the download tries the photos that failed before, and only those. A
    `report` given is the one that is filled: it tells how far a run came that broke off.

    Raises:
        PipelineError: with what is wrong, where, and what to do; what is finished stays finished.
    """
    source = sources.create(config.source) if "ingest" in stages else None
    if source is None:
        Catalog(config.folder).close()  # must be there, and is not made
    with lock(config.folder), Catalog(config.folder, create=True) as catalog:
        builder = _Builder(config, source, catalog, progress, retry_failed, report or Report())
        return builder.run(stages)


class _Builder:
    def __init__(
        self,
        config: Config,
        source: Source | None,
        catalog: Catalog,
        progress: Progress,
        retry_failed: bool,
        report: Report,
    ) -> None:
        self.config = config
        self.source = source
        self.catalog = catalog
        self.progress = progress
        self.retry_failed = retry_failed
        self.limits = ImageLimits(**config.images.model_dump())
        self.report = report
        self.report.engines |= {name: EngineReport() for name in config.engines}

    def run(self, stages: Collection[Stage]) -> Report:
        sweep(self.config.folder)
        sweep(self.config.folder / "images")
        for name in self.config.engines:
            self.sweep(name)
        steps: tuple[tuple[Stage, Callable[[], None]], ...] = (
            # Pretrained networks need no photos: what is wrong with them shows before any work.
            ("train", self.fetch_all),
            ("ingest", self.ingest),
            ("download", self.download),
            ("train", self.train_all),
            ("embed", self.embed_all),
            ("index", self.index_all),
        )
        for stage, step in steps:
            if stage in stages:
                step()
                if stage == "download" and len(stages) > 1:
                    self.check_photos()
        for name, engine in self.report.engines.items():
            if engine.model and engine.model.has_random_weights:
                self.progress.note(random_weights_warning(name))
        return self.report

    def sweep(self, name: str) -> None:
        folder = self.folder(name)
        for place in (folder.path, folder.models.folder, folder.builds.folder):
            sweep(place)
        for store in (folder.path / "embeddings").glob("*"):
            sweep(store)

    def ingest(self) -> None:
        if self.source is None:
            return
        self.report.ingest = ingest(
            self.source,
            self.catalog,
            self.limits,
            self.config.embedding.decoders,
            self.progress,
        )

    def download(self) -> None:
        report = self.report.download = download(
            self.catalog,
            self.config.download,
            self.limits,
            self.config.embedding.decoders,
            retry_failed=self.retry_failed,
            progress=self.progress,
        )
        if report.counts:
            write_json(self.config.folder / "download.json", asdict(report))
            write_atomic(self.config.folder / "download.md", download_page(report).encode())

    def check_photos(self) -> None:
        """Stop where not one photo could be had: what comes next would say so less clearly.

        Raises:
            SourceError: there are photos at URLs, and none is available.
        """
        report = self.report.download
        if report and report.counts and not self.catalog.photo_count():
            troubles = Counter[str]()
            for reasons in report.trouble.values():
                troubles.update(reasons)
            most = ", ".join(f"{count:,} {reason}" for reason, count in troubles.most_common(3))
            raise SourceError(
                f"{self.config.folder}: no photo could be had ({most}); see download.md there, then"
                " `imgsearch download --retry-failed`"
            )

    def fetch_all(self) -> None:
        for name, settings in self.config.engines.items():
            if isinstance(settings, PretrainedSettings):
                self.fetch(name, settings)

    def train_all(self) -> None:
        for name, settings in self.config.engines.items():
            if isinstance(settings, AutoencoderSettings):
                self.train(name, settings)

    def embed_all(self) -> None:
        for name in self.config.engines:
            if self.report.engines[name].embedding is None:  # a teacher's photos are done already
                self.embed(name)

    def index_all(self) -> None:
        for name in self.config.engines:
            self.index(name)

    def fetch(self, name: str, settings: PretrainedSettings) -> None:
        store = self.folder(name).models
        made = store.with_recipe(models.recipe(settings), remove_damaged=True)
        if made:
            model = store.use(made[0])
        else:
            self.progress.note(f"{name}: getting the weights of {settings.network}")
            model = pretrained.fetch(name, settings, store, self.progress)
        self._has_model(name, model, new=not made)

    def train(self, name: str, settings: AutoencoderSettings) -> None:
        store = self.folder(name).models
        recipe = models.recipe(settings, self.config.engines)
        made = [
            model
            for model in store.with_recipe(recipe)
            if covers(model, self.catalog, settings.training.retrain_share)
        ]
        if made:
            model = store.use(made[0])
            remove_unfinished(recipe, store)
        else:
            model = train(
                name,
                settings,
                self.catalog,
                store,
                self.limits,
                self.config.embedding.decoders,
                self.progress,
                recipe=recipe,
                teacher=self.teacher(name, settings),
            )
        self._has_model(name, model, new=not made)

    def teacher(self, pupil: str, settings: AutoencoderSettings) -> TeacherVectors | None:
        """Return what looks up its teacher's vectors of photos; None if it has no teacher."""
        name = settings.teacher
        if name is None:
            return None
        self.embed(name)
        model = self.model(name)
        if model.has_random_weights:
            self.progress.note(f"{pupil}: its teacher {name} has RANDOM weights: it teaches little")
        return self.folder(name).embeddings(model.fingerprint).gather

    def _has_model(self, name: str, model: ModelFolder, *, new: bool) -> None:
        self.report.engines[name].model = model
        self.report.engines[name].new_model = new

    def embed(self, name: str) -> None:
        folder = self.model(name)
        store = self.folder(name).embeddings(folder.fingerprint)
        done = store.photos()
        spec = folder.embedding
        side = (spec["input_size"], spec["input_size"])
        decoded = PixelFolder(self.folder(name).models.folder, side, spec["resize"])
        if all(photo.sha256 in done for photo in self.catalog.photos()):
            report = EmbedReport(self.catalog.photo_count(), 0, 0)
        else:
            report = embed(
                models.load(name, folder),
                self.catalog,
                store,
                self.limits,
                batch_size=self.config.embedding.batch_size,
                shard_size=self.config.embedding.shard_size,
                decoders=self.config.embedding.decoders,
                decoded=decoded,
                progress=self.progress,
            )
        decoded.remove()
        self.report.engines[name].embedding = report

    def index(self, name: str) -> None:
        folder = self.folder(name)
        model = self.model(name)
        self.report.engines[name].build = build_index(
            name,
            model,
            self.catalog,
            folder.embeddings(model.fingerprint),
            folder.builds,
            self.config.index,
            self.progress,
        )

    def folder(self, name: str) -> EngineFolder:
        return EngineFolder(self.config.folder / name)

    def model(self, name: str) -> ModelFolder:
        """Return the engine's model in use, which must be the one that the settings describe."""
        known = self.report.engines[name].model
        model = known or self.folder(name).models.current()
        if model is None:
            raise NotBuiltError(f"{self.folder(name).path}: no model yet; run `imgsearch train`")
        engines = self.config.engines
        recipe = models.recipe(engines[name], engines, read_file=False)
        if not known and not model.is_made_by(recipe):
            raise NotBuiltError(
                f"{model.path}: made with other settings than engines.{name} has now;"
                " run `imgsearch train`"
            )
        self.report.engines[name].model = model
        return model
