"""Settings of one engine: what its model is, and how it is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import MAX_BATCH, MAX_COUNT, Resize, Settings, Text
from pipeline.config.text_tower import TextTowerSettings

_RESIZE = "nearest | box | bilinear | bicubic | lanczos: how a photo is scaled to input_size"

MAX_SIDE = 2048  # pixels of a photo that an encoder takes
_Pair = Annotated[tuple[int, int], Field(strict=False)]  # YAML has lists only
_Color = Annotated[tuple[float, float, float], Field(strict=False)]


class AugmentSettings(Settings):
    """How each photo is changed, anew in each epoch, before it is trained on."""

    flip: bool = Field(True, description="mirror half of the photos")
    shift: float = Field(0.05, ge=0, le=0.5, description="move by up to this share of a side")
    zoom: float = Field(0.1, ge=0, le=0.5, description="scale by up to about this share of a side")
    noise: float = Field(0.1, ge=0, le=1)
    """standard deviation of the noise on what the network sees, not on what it rebuilds; pixels go
    from 0 to 1"""
    descriptor_noise: float = Field(0, ge=0, le=10)
    """the same on descriptors or on what the stem gives, whose numbers have a variance of 1; only
    for the architectures `descriptor` and `stem`"""
    clean_target: bool = False
    """true: rebuild the photo as it is, however it was changed"""


class DistillationSettings(Settings):
    """What photos have to have in common for their latents to be near each other.

    Photos are described by weighted descriptors and by a teacher's vectors; the latent learns to
    keep near what is near by these. null: rebuild pixels, and nothing else.
    """

    teacher: Text | None = None
    """a pretrained engine of this file, whose vectors count too; null: none"""
    teacher_weight: float = Field(1, ge=0, description="weight of the teacher's vectors")
    hog: float = Field(1, ge=0, description="weight of the directions of edges")
    foreground_mask: float = Field(0.7, ge=0, description="weight of where a photo is not white")
    lab_histogram: float = Field(0, ge=0, description="weight of which colors it has")
    pixels: float = Field(0, ge=0, description="weight of its pixels, coarsely")
    components: int = Field(128, ge=1, le=MAX_COUNT)
    """dimensions to which all that is brought down, by PCA"""
    neighbors: int = Field(15, ge=1, le=MAX_COUNT, description="photos that count as near")
    pixel_weight: float = Field(0.1, ge=0)
    """weight of the error of rebuilt pixels, as a share of their variance"""
    target_weight: float = Field(0.1, ge=0)
    """weight of the error of rebuilt components, likewise"""
    decorrelation_weight: float = Field(0.1, ge=0)
    """weight of the correlations between the dimensions of the latent"""

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

    batch_size: int = Field(8, ge=1, le=MAX_BATCH, description="photos a step")
    epochs: int = Field(150, ge=1, le=MAX_COUNT, description="passes over the photos, at most")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="of Adam")
    schedule: Literal["constant", "cosine"] = "cosine"
    """constant | cosine: the learning rate rises for half an epoch, then falls to 0"""
    weight_decay: float = Field(0, ge=0, le=1, description="of AdamW")
    augment: AugmentSettings = AugmentSettings()
    distillation: DistillationSettings | None = None
    patience: int | None = Field(30, ge=1, le=MAX_COUNT)
    """epochs without a better validation loss before it stops; null: never"""
    validation_split: float = Field(0.2, gt=0, lt=1)
    """share of the photos held out of training; the best epoch is chosen on them"""
    split: Literal["first", "hash"] = "hash"
    """which are held out. hash: by content, stable when photos come and go | first: the first in
    the order of names, as Keras's ImageDataGenerator does"""
    seed: int = Field(7, ge=0, lt=2**32, description="same seed, same machine: same weights")
    mixed_precision: bool = Field(False, description="true: half precision where there is a GPU")
    retrain_share: float = Field(0.5, ge=0, le=1)
    """train anew when more than this share of the photos is new"""


class AutoencoderSettings(Settings):
    """A convolutional autoencoder trained on the catalog itself; its latent layer is the vector."""

    type: Literal["autoencoder"] = "autoencoder"
    architecture: Literal["article", "strided", "descriptor", "stem"] = "strided"
    """article: the published network, 138.5 million parameters at 256×256, for a GPU | strided:
    strided convolutions, for machines without one | descriptor: its first layers are fixed
    (directions of edges, colors, foreground, coarse pixels): learns from few photos, in minutes;
    made for `distillation` | stem: its first layers are those of its teacher, and fixed: finds the
    most"""
    stem_layer: Text | None = None
    """for the architecture `stem`: the last layer that it takes from its teacher, whose map divides
    into 4×4 cells: block4_pool of VGG16, block_12_add of MobileNetV2"""
    input_size: int = Field(64, ge=32, le=256)
    """pixels a side, 32 to 256; a multiple of 16 for the architecture `descriptor` and for
    distillation"""
    latent_dim: int = Field(16, ge=1, le=4096, description="dimensions of a vector")
    standardize: bool = False
    """true: scale each dimension to a variance of 1 over the photos trained on"""
    resize: Resize = Field("bilinear", description=f"{_RESIZE}; the article's is nearest")
    normalize: bool = Field(False, description="true: scale vectors to unit length")
    training: TrainingSettings = TrainingSettings()

    @property
    def teacher(self) -> str | None:
        """The engine whose vectors it is distilled from, if any."""
        return self.training.distillation.teacher if self.training.distillation else None

    @model_validator(mode="after")
    def _size(self) -> AutoencoderSettings:
        describes = self.architecture == "descriptor" or self.training.distillation is not None
        if describes and self.input_size % 16:
            raise ValueError(
                f"input_size: {self.input_size} is no multiple of 16, which descriptors need"
            )
        return self

    @model_validator(mode="after")
    def _stem(self) -> AutoencoderSettings:
        if self.architecture != "stem":
            if self.stem_layer is not None:
                raise ValueError(f"stem_layer: the architecture {self.architecture} has no stem")
            return self
        if self.teacher is None or self.stem_layer is None:
            raise ValueError(
                "architecture: stem takes the first layers of its teacher, up to stem_layer: give"
                " it training.distillation.teacher and stem_layer"
            )
        changes = self.training.augment
        if changes.shift or changes.zoom or changes.noise or not changes.clean_target:
            raise ValueError(
                "training.augment: what a stem gives is computed once, for each photo and its"
                " mirror image; set shift, zoom and noise to 0, and clean_target to true"
            )
        return self


class PretrainedSettings(Settings):
    """A layer of a network of keras.applications, pretrained on ImageNet."""

    type: Literal["pretrained"] = "pretrained"
    network: Text = Field("VGG16", description="any class of keras.applications")
    weights: Text = "imagenet"
    """imagenet: Keras downloads and checks the weights (528 MB for VGG16), or takes them from
    ~/.keras/models, where it keeps them if you have a folder ~/.keras | random: no knowledge of
    photos at all | or the path of a weights file that Keras can read"""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """of such a file, checked if given"""
    when_unavailable: Literal["fail", "random"] = "random"
    """fail: stop when the weights cannot be had | random: go on with random ones, so that the
    sample runs without a network, and say so in every answer"""
    include_top: bool = True
    """with the classification layers, of which VGG16's fc1 is one"""
    layer: Text | None = Field("fc1", description="its output is the vector; null: the last layer")
    pooling: Literal["none", "avg", "max"] = "none"
    """none | avg | max: how a layer that is still a picture becomes a vector"""
    input_size: int = Field(224, ge=32, le=1024, description="pixels a side, 32 to 1024")
    resize: Resize = Field(
        "bicubic", description=f"{_RESIZE}; bicubic is what the article's Pillow call does"
    )
    normalize: bool = Field(True, description="scale vectors to unit length, as in the article")
    seed: int = Field(7, ge=0, lt=2**32, description="of random weights")


class OnnxSettings(Settings):
    """Any image encoder as an ONNX file: CLIP, SigLIP, DINOv2, one of your own."""

    type: Literal["onnx"] = "onnx"
    file: Text
    """the file; weights that it keeps in files beside it are found"""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="checked if given")
    input_size: int | _Pair | None = None
    """pixels a side, or [height, width]; null: as the file says"""
    resize: Resize = Field("bicubic", description=_RESIZE)
    crop: float | None = Field(None, gt=0, le=1)
    """null: scale the whole photo to input_size, whatever its shape | a number: scale its shorter
    side to input_size / crop, and cut input_size out of the middle (CLIP: 1; DINOv2: 0.875)"""
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: _Color = (0.0, 0.0, 0.0)
    """subtracted from pixels of 0 to 1, channel by channel"""
    std: _Color = (1.0, 1.0, 1.0)
    """then divided by, not 0; a file that takes uint8 gets the pixels as they are"""
    layout: Literal["nchw", "nhwc"] | None = None
    """whether channels come before the pixels or behind them; null: as the file says"""
    output: Text | None = Field(None, description="its name; null: the file's only one")
    pooling: Literal["none", "cls", "avg", "max"] = "none"
    """how tokens or a map become a vector. cls: the first token | avg, max: of all of them"""
    normalize: bool = Field(True, description="true: scale vectors to unit length")
    text: TextTowerSettings | None = None
    """of a two-tower model: the encoder of words, so that they are searched with as photos are"""

    @field_validator("std")
    @classmethod
    def _positive(cls, std: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(std) <= 0:
            raise ValueError("numbers above 0 are needed to divide by")
        return std

    @field_validator("input_size")
    @classmethod
    def _sides(cls, size: int | tuple[int, int] | None) -> tuple[int, int] | None:
        sides = (size, size) if isinstance(size, int) else size
        if sides is not None and not all(1 <= side <= MAX_SIDE for side in sides):
            raise ValueError(f"a side has 1 to {MAX_SIDE} pixels")
        return sides


class ReducedSettings(Settings):
    """Another engine's vectors, brought down to fewer dimensions by principal components."""

    type: Literal["reduced"] = "reduced"
    of: Text = Field(description="the engine whose vectors these are made of")
    dim: int = Field(16, ge=1, le=4096, description="dimensions of a vector")
    whiten: bool = False
    """true: scale each dimension to a variance of 1 over the photos"""
    normalize: bool = Field(True, description="true: scale vectors to unit length")
    retrain_share: float = Field(0.5, ge=0, le=1)
    """fit anew when more than this share of the photos is new"""


class HeadSettings(Settings):
    """Another engine's vectors, in which the values of a label lie further apart.

    A linear map that is learned from the labels of the catalog's items in seconds, without looking
    at a photo again. It is judged on items whose labels it was not shown.
    """

    type: Literal["head"] = "head"
    of: Text = Field(description="the engine whose vectors these are made of")
    label: Text
    """a column of the catalog, as in `evaluate --label`: items with the same value get nearer;
    those without one are not learned from"""
    dim: int | None = Field(None, ge=1, le=4096)
    """dimensions of a vector; null: 512, or as many as there are, if fewer"""
    strength: float = Field(0.25, ge=0, le=100)
    """how much what tells labels apart counts beside all else that the vectors say; 0: only what
    differs within labels counts less"""
    validation_split: float = Field(0.2, gt=0, lt=1)
    """share of the labeled photos that is held out of training, to be judged by; as many times as
    that goes into 1, others are held out, and the mean is told"""
    retrain_share: float = Field(0.2, ge=0, le=1)
    """learn anew when more than this share of the labels is new, or another"""


DerivedSettings = ReducedSettings | HeadSettings
"""Of engines whose vectors are made of another engine's, and not of photos."""
EngineSettings = Annotated[
    AutoencoderSettings | PretrainedSettings | OnnxSettings | DerivedSettings,
    Field(discriminator="type"),
]
