"""The settings of one catalog: their types, limits, defaults and descriptions.

This is the reference manual: `imgsearch config` prints it with the values that are in effect.
Sources and engines have modules of their own beside this one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import MAX_BATCH, MAX_COUNT, FilePath, Settings, Text, expand
from pipeline.config.dependencies import check_sources
from pipeline.config.download import DownloadSettings
from pipeline.config.engines import AutoencoderSettings, EngineSettings, PretrainedSettings
from pipeline.config.milvus import MilvusSettings
from pipeline.config.runner import LocalRunnerSettings, RunnerSettings
from pipeline.config.serve import ServeSettings
from pipeline.config.sources import (
    CsvSettings,
    FolderSettings,
    SampleSettings,
    SourceSettings,
    TableSettings,
)
from pipeline.config.watch import WatchSettings

DUPLICATES = "duplicates"
LEDGER, LEDGER_COPY, LEDGER_SEAL = "catalog.sqlite", "catalog.copy.sqlite", "catalog.json"
REPORT, UPLOADS = "report.html", "uploads"
SPEEDS = "speeds.json"
POINTER, PUBLICATIONS, TAGS = "CURRENT", "publications", "tags.json"
CATALOG_FILES = (
    *(LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", f"{LEDGER}-journal"),
    *(LEDGER_COPY, LEDGER_SEAL, "checked.json"),
    *(POINTER, PUBLICATIONS, TAGS),
    *("images", "download.json", "download.md", UPLOADS, REPORT, DUPLICATES, SPEEDS),
)
"""What is written into a catalog's folder, beside a folder for each engine, which is named so."""


class ImageSettings(Settings):
    """What counts as an acceptable photo, in the catalog and in queries.

    Checked before decoding; a photo outside of these limits is rejected, with the reason in the
    ledger. What is downloaded is judged when it arrives: limits that are changed later hold for
    what comes then, and let in what was refused before.
    """

    max_bytes: int = Field(20_000_000, ge=1, le=MAX_COUNT, description="of the file")
    max_pixels: int = Field(
        50_000_000, ge=1, le=MAX_COUNT, description="width × height, by the file's header"
    )
    min_side: int = Field(16, ge=1, le=MAX_COUNT, description="pixels of the shorter side")


class EmbeddingSettings(Settings):
    """How photos become vectors; none of this changes what a vector means."""

    batch_size: int = Field(
        32, ge=1, le=MAX_BATCH, description="photos the network takes at a time"
    )
    shard_size: int = Field(1024, ge=1, le=MAX_COUNT)
    """vectors a file: the unit of work and of resume"""
    decoders: int = Field(2, ge=1, le=256)
    """threads that decode photos while the network runs"""


class IndexSettings(Settings):
    """What finds the neighbors."""

    type: Literal["flat", "pruned", "milvus"] = "flat"
    """all give the same exact answers, and index.faiss is a plain FAISS file in each. flat: a
    query reads every vector | pruned: short codes in memory rule most vectors out for certain, the
    others are read from the disk; for 2,000 vectors and more of a hundred dimensions and more,
    elsewhere it is flat | milvus: flat, and a Milvus server finds what is near (pip install
    imgsearch[milvus])"""
    milvus: MilvusSettings = MilvusSettings()
    recall: float | None = Field(None, gt=0, lt=1)
    """null: all answers are exact | a number, for pruned and milvus: answers may miss some of the
    nearest, but find this share of them at least, and faster: codes, or Milvus's graph, are looked
    at only as far as was found to be needed when it was built. Distances are exact in both"""
    keep_publications: int = Field(2, ge=1, le=MAX_COUNT)
    """publications kept with their builds, the one that answers included; what is tagged or in use
    stays besides"""

    @model_validator(mode="after")
    def _recall(self) -> IndexSettings:
        if self.recall is not None and self.type == "flat":
            raise ValueError("recall needs codes, and flat has none; set index.type to pruned")
        return self


class SearchSettings(Settings):
    """How lists are made of what the indexes find, and what answers say of themselves."""

    fusion: Literal["reciprocal_rank", "weighted"] = "reciprocal_rank"
    """how the engines' lists become one. reciprocal_rank: by ranks, each engine alike | weighted:
    by distances, with weights that are fitted when a catalog is published, so that it is no worse
    than the best engine; a weight may be 0"""
    refine: Literal["off", "expand", "rerank", "measured"] = "off"
    """whether what is found refines the query. expand: search again with the mean of the query and
    what is mutually near it | rerank: sort the first 100 anew by each other | measured: for each
    engine what is measured to be better when a catalog is published, if anything is"""
    label: Text | None = "category"
    """the column that says what is right where weighted or measured has to be decided; null: no
    column, but whether changed photos find what they were made from"""
    no_match_percentile: float = Field(99, ge=0, le=100)
    """a query has "no good match" when its nearest neighbor is further away than the nearest
    neighbors of this percentage of the catalog's own photos; 100: never"""
    out_of_distribution: bool = True
    """true: also when an autoencoder rebuilds the query's photo worse than no_match_percentile
    percent of the photos held out of its training, which finds noise and the like; takes its
    decoder's time"""
    collapse: bool = False
    """true: of near-duplicates an answer shows the nearest, and says which items are hidden behind
    it; builds then find near-duplicates, as if `duplicates` were true"""


class Config(Settings):
    """Everything that one catalog needs, from its photos to its indexes."""

    name: Text | None = None
    """the catalog's name, and that of its folder below root; null: named after its source
    (`sample`, or the last part of the path)"""
    root: FilePath = Path("indexes")
    """where everything is written, and nothing anywhere else"""
    source: SourceSettings = Field(SampleSettings(), description="Where items come from.")
    images: ImageSettings = ImageSettings()
    download: DownloadSettings = DownloadSettings()
    engines: dict[Text, EngineSettings] = Field(
        {"autoencoder": AutoencoderSettings(), "vgg16": PretrainedSettings()}, min_length=1
    )
    """The engines, side by side: any name → its settings."""
    embedding: EmbeddingSettings = EmbeddingSettings()
    runner: RunnerSettings = Field(
        LocalRunnerSettings(), description="Where photos are embedded and downloaded."
    )
    index: IndexSettings = IndexSettings()
    search: SearchSettings = SearchSettings()
    duplicates: bool = False
    """true: builds find near-duplicates (edited copies of one photo) among photos that are new, so
    that searches can collapse them; 1.7 KB a photo"""
    watch: WatchSettings = WatchSettings()
    serve: ServeSettings = ServeSettings()
    query_set: CsvSettings = CsvSettings()
    """How the CSV file of `imgsearch evaluate --query-set` is written."""

    @field_validator("engines")
    @classmethod
    def _engine_names(cls, engines: dict[str, EngineSettings]) -> dict[str, EngineSettings]:
        for name in engines:
            _check_name(name)
            if name in CATALOG_FILES:
                raise ValueError(f"{name!r} is taken in a catalog's folder; give it another name")
            if _IN_EVALUATIONS.fullmatch(name):
                raise ValueError(
                    f"{name!r} is what evaluations call a ranking of their own (random, fused,"
                    " pca-16, …); give it another name"
                )
        return engines

    @model_validator(mode="after")
    def _sources(self) -> Config:
        check_sources(self.engines)
        return self

    @model_validator(mode="after")
    def _folders(self) -> Config:
        _check_name(self.catalog)
        if isinstance(self.source, FolderSettings):
            photos, written = _absolute(self.source.path), _absolute(self.folder)
            if written.is_relative_to(photos) or photos.is_relative_to(written):
                raise ValueError(
                    f"the photos in {photos} and what is written to {written} must be apart;"
                    " set root or name"
                )
        return self

    @property
    def catalog(self) -> str:
        """The catalog's name: as given, or after its source."""
        if self.name is not None:
            return self.name
        if not isinstance(self.source, FolderSettings | TableSettings):
            return self.source.type
        path = _absolute(self.source.path)
        name = path.name if isinstance(self.source, FolderSettings) else path.stem
        return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "photos"

    @property
    def finds_duplicates(self) -> bool:
        """Whether builds find near-duplicates."""
        return self.duplicates or self.search.collapse

    @property
    def folder(self) -> Path:
        """Where everything about this catalog is written."""
        return expand(self.root) / self.catalog


_IN_EVALUATIONS = re.compile(r"random|fused|pca-[0-9]+")


def _absolute(path: Path) -> Path:
    return expand(path).resolve()


def _check_name(name: str) -> None:
    """Names become folders."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(
            f"{name!r} cannot be a name: use letters, digits, '.', '_' and '-' (set `name`)"
        )
