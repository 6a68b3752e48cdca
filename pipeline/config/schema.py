"""The settings: their types, limits and the defaults that apply when a key is left out.

`config/default.yaml` and `config/flipkart.yaml` write every one out with a comment: they are the
reference manual.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    field_validator,
    model_validator,
)

from pipeline.errors import ConfigError

Resize = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
FilePath = Annotated[Path, Field(strict=False)]  # YAML has no paths: they are strings there


class Settings(BaseModel):
    """Base of all settings: immutable, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SampleSettings(Settings):
    """A catalog that is drawn, not photographed: runs anywhere, the same everywhere."""

    type: Literal["sample"]
    photos: int = Field(240, ge=1)
    near_duplicates: int = Field(8, ge=0)
    size: int = Field(250, ge=16, le=2000)
    seed: int = Field(7, ge=0)


class MetadataSettings(Settings):
    """A CSV file with a row for each photo of a folder."""

    file: FilePath
    key: str
    name: str | None = None
    category: str | None = None
    category_separator: str = Field(">>", min_length=1)
    delimiter: str | None = Field(None, pattern=r'^[^"\r\n]$')
    encoding: str | None = None


class FolderSettings(Settings):
    """A directory tree of photos."""

    type: Literal["folder"]
    path: FilePath
    metadata: MetadataSettings | None = None


class ColumnSettings(Settings):
    """What the columns of a table mean; every other column is kept as metadata."""

    key: str
    image: str
    name: str | None = None
    category: str | None = None
    category_separator: str = Field(">>", min_length=1)
    structured: tuple[str, ...] = Field((), strict=False)


class TableSettings(Settings):
    """A CSV or Parquet file with a row for each item, and the URLs of its photos."""

    type: Literal["table"]
    path: FilePath
    images: Literal["first", "all"] = "first"
    delimiter: str = Field(",", pattern=r'^[^"\r\n]$')
    encoding: str | None = None
    columns: ColumnSettings


class FlipkartSettings(TableSettings):
    """The same for the file of the article, as Kaggle publishes it."""

    type: Literal["flipkart"]  # type: ignore[assignment]
    columns: ColumnSettings = ColumnSettings(
        key="uniq_id",
        image="image",
        name="product_name",
        category="product_category_tree",
        structured=("product_specifications",),
    )


SourceSettings = Annotated[
    SampleSettings | FolderSettings | TableSettings | FlipkartSettings, Field(discriminator="type")
]


class ImageSettings(Settings):
    """What counts as an acceptable photo."""

    max_bytes: int = Field(20_000_000, ge=1)
    max_pixels: int = Field(50_000_000, ge=1)
    min_side: int = Field(1, ge=1)


class DownloadSettings(Settings):
    """How photos are fetched from their URLs, and how they are kept."""

    resize: int | str = 250
    quality: int = Field(75, ge=1, le=95)
    concurrency: int = Field(64, ge=1, le=1024)
    per_host: int = Field(8, ge=1, le=1024)
    requests_per_second: float | None = Field(None, gt=0, allow_inf_nan=False)
    attempts: int = Field(4, ge=1, le=20)
    backoff: float = Field(0.5, ge=0, le=60, allow_inf_nan=False)
    connect_timeout: float = Field(10, gt=0, allow_inf_nan=False)
    read_timeout: float = Field(20, gt=0, allow_inf_nan=False)
    total_timeout: float = Field(120, gt=0, allow_inf_nan=False)
    redirects: int = Field(5, ge=0, le=20)
    give_up_after: int = Field(100, ge=1)
    robots: Literal["obey", "ignore"] = "obey"
    user_agent: str = "imgsearch/0.1 (downloads the photos of a product list)"
    allow_addresses: tuple[IPvAnyNetwork, ...] = Field((), strict=False)

    @field_validator("user_agent")
    @classmethod
    def _user_agent(cls, name: str) -> str:
        if not re.fullmatch("[!-~][ -~]*", name):
            raise ValueError(f"{name!r}: give printable ASCII that does not begin with a space")
        return name

    @field_validator("allow_addresses", mode="before")
    @classmethod
    def _allow_addresses(cls, networks: Any) -> Any:
        if not isinstance(networks, str | list | tuple):
            raise ValueError(f"{networks!r}: give a list of networks, such as [192.168.1.0/24]")
        return [networks] if isinstance(networks, str) else networks

    @field_validator("resize")
    @classmethod
    def _resize(cls, resize: int | str) -> int | str:
        side = re.fullmatch(r"(?:fit )?([0-9]{2,4})", str(resize))
        if resize != "none" and not (side and 16 <= int(side[1]) <= 4096):
            raise ValueError(
                f"{resize!r}: give the pixels of a side (250), the most of the longer side"
                " (fit 512), 16 to 4096, or none"
            )
        return resize


class AugmentSettings(Settings):
    """How each photo is changed, anew in each epoch, before it is trained on."""

    flip: bool = False
    shift: float = Field(0, ge=0, le=0.5)
    zoom: float = Field(0, ge=0, le=0.5)
    noise: float = Field(0, ge=0, le=1)
    descriptor_noise: float = Field(0, ge=0, le=10)
    clean_target: bool = False


class DistillationSettings(Settings):
    """What a latent is taught beside rebuilding pixels."""

    teacher: str | None = None
    teacher_weight: float = Field(1, ge=0)
    hog: float = Field(1, ge=0)
    foreground_mask: float = Field(0.7, ge=0)
    lab_histogram: float = Field(0, ge=0)
    pixels: float = Field(0, ge=0)
    components: int = Field(128, ge=1)
    neighbors: int = Field(15, ge=1)
    pixel_weight: float = Field(0.1, ge=0)
    target_weight: float = Field(0.1, ge=0)
    decorrelation_weight: float = Field(0.1, ge=0)

    @model_validator(mode="after")
    def _weights(self) -> DistillationSettings:
        taught = self.teacher_weight if self.teacher else 0
        if not any((taught, self.hog, self.foreground_mask, self.lab_histogram, self.pixels)):
            raise ValueError(
                "all weights are 0: give one to hog, foreground_mask, lab_histogram or pixels, or"
                " name a teacher"
            )
        return self


class TrainingSettings(Settings):
    """How an autoencoder is trained: squared errors, Adam, the best validation loss kept."""

    batch_size: int = Field(16, ge=1)
    epochs: int = Field(100, ge=1)
    learning_rate: float = Field(1e-3, gt=0, le=1)
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: float = Field(0, ge=0, le=1)
    augment: AugmentSettings = AugmentSettings()
    distillation: DistillationSettings | None = None
    patience: int | None = Field(None, ge=1)
    validation_split: float = Field(0.2, gt=0, lt=1)
    split: Literal["first", "hash"] = "hash"
    seed: int = Field(7, ge=0, lt=2**32)
    mixed_precision: bool = False
    retrain_share: float = Field(0.5, ge=0, le=1)


class AutoencoderSettings(Settings):
    """An engine whose network is trained on the catalog itself."""

    type: Literal["autoencoder"]
    architecture: Literal["article", "strided", "descriptor"] = "article"
    input_size: int = Field(256, ge=32, le=256)
    latent_dim: int = Field(16, ge=1, le=4096)
    standardize: bool = False
    resize: Resize = "nearest"
    normalize: bool = False
    training: TrainingSettings = TrainingSettings()

    @property
    def teacher(self) -> str | None:
        """The engine whose vectors guide its training, if any does."""
        return self.training.distillation.teacher if self.training.distillation else None

    @model_validator(mode="after")
    def _size(self) -> AutoencoderSettings:
        guided = self.architecture == "descriptor" or self.training.distillation is not None
        if guided and self.input_size % 16:
            raise ValueError(
                f"input_size: {self.input_size} is no multiple of 16, which descriptors need"
            )
        return self


class PretrainedSettings(Settings):
    """An engine that is a layer of a `keras.applications` network."""

    type: Literal["pretrained"]
    network: str = "VGG16"
    weights: str = "imagenet"
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    when_unavailable: Literal["fail", "random"] = "fail"
    include_top: bool = True
    layer: str | None = "fc1"
    pooling: Literal["none", "avg", "max"] = "none"
    input_size: int = Field(224, ge=32, le=1024)
    resize: Resize = "bicubic"
    normalize: bool = True
    seed: int = Field(7, ge=0, lt=2**32)


EngineSettings = Annotated[AutoencoderSettings | PretrainedSettings, Field(discriminator="type")]


class EmbeddingSettings(Settings):
    """How photos are turned into vectors; none of it changes a vector's meaning."""

    batch_size: int = Field(32, ge=1)
    shard_size: int = Field(1024, ge=1)
    decoders: int = Field(2, ge=1, le=256)


class IndexSettings(Settings):
    """What finds the neighbors."""

    type: Literal["flat", "pruned"] = "flat"
    keep_builds: int = Field(2, ge=1)


class SearchSettings(Settings):
    """What answers say of themselves."""

    no_match_percentile: float = Field(99, ge=0, le=100)
    out_of_distribution: bool = True


class Config(Settings):
    """Everything that one catalog needs, from its photos to its indexes."""

    name: str | None = None
    root: FilePath = Path("indexes")
    source: SourceSettings
    images: ImageSettings = ImageSettings()
    download: DownloadSettings = DownloadSettings()
    engines: dict[str, EngineSettings] = Field(min_length=1)
    embedding: EmbeddingSettings = EmbeddingSettings()
    index: IndexSettings = IndexSettings()
    search: SearchSettings = SearchSettings()

    @field_validator("engines")
    @classmethod
    def _engine_names(cls, engines: dict[str, EngineSettings]) -> dict[str, EngineSettings]:
        for name in engines:
            _check_name(name)
            if name in _TAKEN or name.startswith("catalog.sqlite"):
                raise ValueError(f"{name!r} is taken in a catalog's folder; give it another name")
        return engines

    @model_validator(mode="after")
    def _teachers(self) -> Config:
        for name, engine in self.engines.items():
            teacher = engine.teacher if isinstance(engine, AutoencoderSettings) else None
            if teacher and not isinstance(self.engines.get(teacher), PretrainedSettings):
                known = [n for n, e in self.engines.items() if isinstance(e, PretrainedSettings)]
                raise ValueError(
                    f"engines.{name}.training.distillation.teacher: {teacher!r} is no pretrained"
                    f" engine; {'give one of ' + ', '.join(known) if known else 'there is none'}"
                )
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
        if isinstance(self.source, FolderSettings):
            return _name_after(_absolute(self.source.path).name) or "photos"
        if isinstance(self.source, TableSettings):
            return _name_after(_absolute(self.source.path).stem) or "photos"
        return self.source.type

    @property
    def folder(self) -> Path:
        """Where everything about this catalog is written."""
        return expand(self.root) / self.catalog


_TAKEN = ("images", "fused", "download.json", "download.md", "report.html")


def expand(path: Path) -> Path:
    """Replace a leading `~`, where there is such a home."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: {error}") from error


def _absolute(path: Path) -> Path:
    return expand(path).resolve()


def _name_after(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")


def _check_name(name: str) -> None:
    """Names become folders."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(
            f"{name!r} cannot be a name: use letters, digits, '.', '_' and '-' (set `name`)"
        )
