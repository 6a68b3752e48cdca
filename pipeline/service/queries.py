"""A request → what is searched with, and how: from a raw body, a form, JSON or an address."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from pipeline.images import AUTO
from pipeline.service.guards import read_body
from pipeline.service.problems import HttpProblem
from pipeline.service.uploads import NAME

SPOOL_BYTES = 64 * 1024  # of a body that stays in memory; the rest goes to a file without a name
MAX_JSON_BYTES = 1024 * 1024
MAX_FIELDS = 20
MAX_FIELD_BYTES = 16 * 1024
MAX_VECTOR = 16_384  # numbers
_LISTS = ("engines", "region", "vector", "like", "unlike")  # what an address writes with commas

T = TypeVar("T", bound=BaseModel)
Fields = Iterable[tuple[str, str]]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
ItemId = Annotated[int, Field(ge=1, le=2**63 - 1)]
Examples = Annotated[tuple[ItemId, ...], Field(max_length=100)]


class SearchOptions(BaseModel):
    """How to search; what is left out is as in `Searcher.search`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(3, ge=1, le=2**31 - 1, description="neighbors by each engine")
    engines: tuple[ShortText, ...] = Field((), max_length=100, description="these only; else all")
    where: ShortText | None = Field(None, description="a condition on the catalog's columns")
    group_by: ShortText | None = Field(
        None, description="a column, of each value of which only the nearest item is found"
    )
    min_distance: Number = Field(0.0, ge=0)
    max_distance: Number | None = Field(None, ge=0)
    region: tuple[Fraction, Fraction, Fraction, Fraction] | Literal["auto"] | None = Field(
        None,
        description="x,y,w,h of the upright photo, which is 1 wide and 1 high; or what stands out"
        " from a plain background",
    )
    text: Annotated[str, StringConstraints(max_length=1000)] | None = Field(
        None, description="words that items must have; those with all of them are found first"
    )
    like: Examples = Field((), description="items: find what is more like these, too")
    unlike: Examples = Field((), description="items: find what is less like these")
    collapse: bool | None = Field(
        None, description="hide near-duplicates behind the nearest of them; else as it is set"
    )
    fuse: bool = Field(False, description="one list more: all engines' lists as one")
    refine: Literal["off", "expand", "rerank", "measured"] | None = Field(
        None, description="refine the order by what is found; else as the settings say"
    )

    @field_validator("text")
    @classmethod
    def _blank(cls, text: str | None) -> str | None:
        """Forms send fields that are left empty."""
        return text if text and text.strip() else None


class SearchRequest(SearchOptions):
    """A search without a photo in the request: by a URL, an item, a vector, or by words alone."""

    url: ShortText | None = Field(None, description="of a photo, which is fetched")
    item: ItemId | None = Field(None, description="an item's id")
    upload: Annotated[str, StringConstraints(pattern=f"^{NAME}$")] | None = Field(
        None, description="a photo that was searched with, where those are kept"
    )
    vector: tuple[Number, ...] | None = Field(None, min_length=1, max_length=MAX_VECTOR)
    look: bool = Field(
        False, description="with text alone: also what looks like the items that have the words"
    )

    @model_validator(mode="after")
    def _one_query(self) -> SearchRequest:
        if len(self.given) > 1 or not (self.given or self.text):
            raise ValueError("give one of url, item, upload and vector, or text, or send a photo")
        if self.look and self.given:
            raise ValueError("look is for text alone")
        return self

    @property
    def given(self) -> list[str]:
        """The names of what it would search with."""
        names = ("url", "item", "upload", "vector")
        return [name for name in names if getattr(self, name) is not None]


class SearchInput(NamedTuple):
    """A request that was read: its options, and the photo that came with it, if one did."""

    options: SearchOptions
    photo: BinaryIO | None = None

    @property
    def request(self) -> SearchRequest:
        """What it searches with, where no photo came."""
        return cast(SearchRequest, self.options)


async def read_request(request: Request, fields: Fields | None = None) -> SearchInput:
    """Read a search from a request of any kind; `fields` stand for those of its address.

    The photo is an open file, in memory as long as it is small; whoever has it closes it.

    Raises:
        HttpProblem, ValidationError: it is not understood.
        HTTPException: its body is too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    fields = list(request.query_params.multi_items() if fields is None else fields)
    if request.method in ("GET", "HEAD"):
        return SearchInput(parse_fields(SearchRequest, fields))
    if kind == "application/json":
        if fields:
            raise HttpProblem(
                400, "invalid", "with JSON, options stand in its body, not the address"
            )
        body = await read_body(request, MAX_JSON_BYTES, "JSON")
        return SearchInput(SearchRequest.model_validate_json(body, strict=True))
    if kind == "multipart/form-data":
        return await _read_form(request, fields)
    # Whatever else it is called: curl --data-binary says it were a form.
    options = parse_fields(SearchOptions, fields)
    return SearchInput(options, await _raw_body(request))


def parse_fields(model: type[T], fields: Fields) -> T:
    """Read texts, as of an address or a form.

    parse_fields(SearchOptions, [("k", "5"), ("engines", "vgg16")])

    Raises:
        ValidationError: they are not what the model takes.
    """
    values: dict[str, Any] = {}
    for name, text in fields:
        if name in _LISTS and text != AUTO:
            values.setdefault(name, []).extend(text.split(","))
        elif name in values:
            raise HttpProblem(400, "invalid", f"{name} is given twice")
        else:
            values[name] = text
    return model.model_validate(values)


async def _raw_body(request: Request) -> BinaryIO:
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(SPOOL_BYTES))  # noqa: SIM115
    try:
        async for chunk in request.stream():
            file.write(chunk)
        if not file.tell():
            hint = "send the bytes of a photo, a form with the file `photo`, or JSON"
            raise HttpProblem(400, "invalid", "the request has no body", hint)
    except BaseException:
        file.close()
        raise
    return file


async def _read_form(request: Request, fields: list[tuple[str, str]]) -> SearchInput:
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=1,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    parser.spool_max_size = SPOOL_BYTES
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HttpProblem(400, "invalid", f"the form: {error.message}") from error
    files = {name: part for name, part in form.multi_items() if isinstance(part, UploadFile)}
    fields += [(name, part) for name, part in form.multi_items() if isinstance(part, str)]
    try:
        photo = _photo_of(files)
        if photo is None:
            return SearchInput(parse_fields(SearchRequest, fields))
        return SearchInput(parse_fields(SearchOptions, fields), photo)
    except BaseException:
        await form.close()
        raise


def _photo_of(files: Mapping[str, UploadFile]) -> BinaryIO | None:
    """The photo of a form; None if it has none, or an empty one, as browsers send it."""
    for name, part in files.items():
        if name != "photo":
            raise HttpProblem(400, "invalid", f"the form has a file {name!r}", "call it `photo`")
        if part.size:
            return part.file
        part.file.close()
    return None
