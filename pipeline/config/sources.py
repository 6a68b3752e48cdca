"""Settings of `source`: where items come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.config.base import MAX_COUNT, FilePath, Settings, Text

_CATEGORY = "column of the category; null: items have none"
_SEPARATOR = (
    "a category such as `A >> B >> C` is split here; its first level is the item's category, and"
    " all levels are kept as category_1, category_2, …"
)


def _character(text: str) -> str:
    """Check that a text is one character; the tab has names, as shells do not write it easily."""
    text = "\t" if text in ("\\t", "tab") else text
    if len(text) != 1 or text in '"\r\n':
        raise ValueError(f"it is {text!r}: give one character, but no quote and no end of a line")
    return text


_Character = Annotated[Text, AfterValidator(_character)]
# Of CSV files; what is null, the file itself shows.
_Delimiter = Annotated[
    _Character | None,
    Field(
        description="the character between the columns of a CSV file, such as ; or tab; null: as"
        " its first rows show"
    ),
]
_Encoding = Annotated[
    Text | None,
    Field(
        description="of a CSV file, such as cp1251; null: what the file says of itself, else UTF-8,"
        " with cp1252 for what is not"
    ),
]
_Escape = Annotated[
    _Character | None,
    Field(
        description='the character that escapes a quote in a CSV file, as \\ in "a \\"small\\" cap"'
        " (Spark, MySQL); null: as its rows show"
    ),
]


class CsvSettings(Settings):
    """How a CSV file is written, where the file itself does not show it."""

    delimiter: _Delimiter = None
    encoding: _Encoding = None
    escape: _Escape = None


class SampleSettings(Settings):
    """Photos that are drawn, the same on every machine, so that everything runs offline."""

    type: Literal["sample"] = "sample"
    photos: int = Field(240, ge=1, le=MAX_COUNT, description="product photos to draw")
    near_duplicates: int = Field(
        8, ge=0, le=MAX_COUNT, description="second photos of some of the products"
    )
    size: int = Field(250, ge=16, le=2000, description="pixels a side, 16 to 2000")
    seed: int = Field(7, ge=0, le=MAX_COUNT, description="another seed draws other photos")


class MetadataSettings(Settings):
    """A CSV file with a row for each photo; every other column is kept as metadata."""

    file: FilePath = Field(description="path of the CSV file, from the folder of the photos")
    key: Text
    """column that names the photo: its path below the folder, its file name, or its file name
    without suffix"""
    name: Text | None = Field(None, description="column of the item's name; null: the file's name")
    category: Text | None = Field(None, description=_CATEGORY)
    category_separator: Text = Field(">>", min_length=1, description=_SEPARATOR)
    delimiter: _Delimiter = None
    encoding: _Encoding = None
    escape: _Escape = None


class FolderSettings(Settings):
    """Your own photos: a directory tree of JPEG, PNG, WebP, GIF, BMP and TIFF files.

    Each photo is an item. Without metadata, a photo's parent folder is its category.
    """

    type: Literal["folder"] = "folder"
    path: FilePath = Field(description="the folder; it is only read, and searched to any depth")
    metadata: MetadataSettings | None = None


class ColumnSettings(Settings):
    """What the columns of the table mean; every other column is kept as metadata."""

    key: Text
    """column of the item's own id; of rows with one id, the first counts"""
    image: Text
    """column of its photos: one URL, several, or a JSON list of them"""
    name: Text | None = Field(None, description="column of the item's name; null: its id")
    category: Text | None = Field(None, description=_CATEGORY)
    category_separator: Text = Field(">>", min_length=1, description=_SEPARATOR)
    structured: tuple[Text, ...] = Field((), strict=False)
    """columns of JSON or Ruby text to parse"""


class TableSettings(Settings):
    """A CSV or Parquet file with a row for each product and the URLs of its photos.

    The photos are downloaded.
    """

    type: Literal["table"] = "table"
    path: FilePath = Field(description="the file: `.parquet`, or CSV, which may be packed by gzip")
    images: Literal["first", "all"] = "first"
    """first: the first URL of each product | all: each is an image of it"""
    delimiter: _Delimiter = None
    encoding: _Encoding = None
    escape: _Escape = None
    columns: ColumnSettings


class FlipkartSettings(TableSettings):
    """A table with the columns of the article's data set.

    The file is that of kaggle.com/datasets/PromptCloudHQ/flipkart-products: 20,000 products.
    """

    type: Literal["flipkart"] = "flipkart"  # type: ignore[assignment]
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
