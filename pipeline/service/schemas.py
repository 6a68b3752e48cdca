"""What is answered, in types: what `/openapi.json` describes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class ProblemBody(BaseModel):
    """Why a request was refused."""

    code: str
    message: str
    hint: str


class ItemBody(BaseModel):
    """An item of the catalog."""

    id: int
    key: str
    name: str
    category: str
    metadata: dict[str, Any]


class ListedItem(ItemBody):
    """An item in a list."""

    sha256: str | None = Field(description="of its first photo: see /photos/{sha256}")


class ItemPhoto(BaseModel):
    """A photo of an item."""

    sha256: str
    width: int | None = Field(description="pixels of the photo as it arrived")
    height: int | None


class ItemDetail(BaseModel):
    """One item with all of its photos."""

    publication: int
    item: ItemBody
    state: str
    photos: list[ItemPhoto]


class ItemList(BaseModel):
    """A page of items."""

    publication: int
    total: int
    page: int
    pages: int
    items: list[ListedItem]


class HitBody(BaseModel):
    """One item near a query: `Hit.to_dict()`."""

    rank: int
    distance: float
    percentile: float | None
    item: ItemBody
    photo: str | None
    sha256: str
    similar: list[int] = Field([], description="items that are hidden behind it, if any are")


class FusedHitBody(BaseModel):
    """One item of the fused list: `FusedHit.to_dict()`."""

    rank: int
    score: float
    ranks: dict[str, int]
    item: ItemBody
    photo: str | None
    sha256: str
    similar: list[int] = Field([], description="items that are hidden behind it, if any are")


class TextHitBody(BaseModel):
    """One item whose text has the words: `TextHit.to_dict()`."""

    rank: int
    score: float
    item: ItemBody
    photo: str | None
    sha256: str


class MeasuredRecall(BaseModel):
    """A mean share with its 95 % interval: `Recall.to_dict()`."""

    mean: float
    low: float
    high: float
    queries: int


class RecallBody(BaseModel):
    """Which share of the nearest an index finds: `PromisedRecall.to_dict()`."""

    promise: float
    measured: MeasuredRecall


class EngineBody(BaseModel):
    """One engine's answer: `EngineResult.to_dict()`."""

    refined: Literal["expand", "rerank"] | None = Field(
        None, description="how the order was refined; else hits are in the order of distances"
    )
    hits: list[HitBody]
    no_match: bool
    ood_percentile: float | None
    build: str
    fingerprint: str
    warning: str | None
    recall: RecallBody | None = Field(
        None, description="the share of the nearest that is found; else all are"
    )


class SearchBody(BaseModel):
    """All engines' answers: `SearchResult.to_dict()`, and by which publication."""

    publication: int
    query: str
    region: list[float] | None
    engines: dict[str, EngineBody]
    notes: list[str]
    fused: list[FusedHitBody] | None = None
    text: list[TextHitBody] | None = Field(None, description="items that have the words")
    upload: str | None = Field(None, description="the photo's name, where photos are kept")


class ColumnValue(BaseModel):
    """A value of a column."""

    value: float | int | str
    items: int


class ColumnBody(BaseModel):
    """What a column holds."""

    name: str
    kind: Literal["number", "text", "mixed", "structured"]
    items: int = Field(description="how many have a value")
    distinct: int
    values: list[ColumnValue] = Field(description="the commonest")
    minimum: float | int | None = Field(description="of its numbers")
    maximum: float | int | None


class EngineDetail(BaseModel):
    """An engine that answers."""

    name: str
    photos: int
    dim: int
    build: str
    fingerprint: str
    input_size: list[int] = Field(description="height and width of the pixels it takes")
    warning: str | None


class CatalogLimits(BaseModel):
    """What a client should know before it asks."""

    max_bytes: int = Field(description="of a photo")
    max_pixels: int
    max_k: int
    fetches_urls: bool
    keeps_uploads: bool


class CatalogBody(BaseModel):
    """The catalog as a whole."""

    publication: int
    name: str
    items: int
    photos: int
    columns: list[ColumnBody]
    engines: list[EngineDetail]
    warnings: dict[str, str]
    limits: CatalogLimits


class ReadyBody(BaseModel):
    """Whether searches are answered."""

    ready: bool
    publication: int
