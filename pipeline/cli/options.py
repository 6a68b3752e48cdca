"""Options and arguments that commands share, or that take more than a line to describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Option


def path_to_read(text: str) -> Path:
    """Return the path that was given; an empty one, as of an unset variable, is not this folder."""
    if not text:
        raise BadParameter("it is empty; give a path, or . for this folder")
    if text.lower().startswith(("http://", "https://")):
        raise BadParameter(f"{text} is a URL; download it, and give the path of the file")
    return Path(text)


ConfigFile = Annotated[
    Path | None,
    Option(
        "--config",
        "-c",
        help="The YAML file of settings; else imgsearch.yaml or config/default.yaml if there, else"
        " the drawn sample's.",
        metavar="FILE",
    ),
]
Overrides = Annotated[
    list[str] | None,
    Option("--set", "-s", help="Change a setting (repeatable).", metavar="KEY.PATH=VALUE"),
]
AsJson = Annotated[bool, Option("--json", help="Print JSON on stdout.")]
AcceptRemovals = Annotated[
    bool,
    Option(
        "--accept-removals",
        help="Remove items that are no longer in the source, even if these are so many that it may"
        " be out of reach.",
    ),
]
Engines = Annotated[list[str] | None, Option("--engine", "-e", help="Only this one (repeatable).")]
Seed = Annotated[int, Option(min=0, max=2**32 - 1, help="Of all random choices.")]

# Of queries.
Photos = Annotated[
    list[Path] | None,
    Argument(
        help="Photos, or folders of photos.",
        show_default=False,
        parser=path_to_read,
        metavar="PHOTO",
    ),
]
Id = Annotated[int | None, Option("--id", help="Search with the item of this id.", metavar="ID")]
Key = Annotated[
    str | None, Option(help="Search with the item that its source calls so.", metavar="KEY")
]
Words = Annotated[
    str | None,
    Option(
        help="Search with words in the names, categories and other columns of items; beside a"
        " photo: only items that have them, with all words first. A phrase stands in double"
        " quotes; shirt* is any word that begins so.",
        metavar="WORDS",
    ),
]
ByLook = Annotated[
    bool, Option("--look", help="With --text: also items that look like those with the words.")
]
Like = Annotated[
    list[int] | None,
    Option(help="More like the item of this id, too (repeatable).", metavar="ID"),
]
Unlike = Annotated[
    list[int] | None, Option(help="Less like the item of this id (repeatable).", metavar="ID")
]
SearchedEngines = Annotated[
    list[str] | None, Option("--engine", "-e", help="Search only this one (repeatable).")
]
Where = Annotated[
    str | None,
    Option(
        help="Only items for which this holds, such as category = 'Watches' and price < 2000."
        " Any column of the catalog; and, or, not, in, between, like, is null.",
        metavar="CONDITION",
    ),
]
GroupBy = Annotated[
    str | None,
    Option(help="Only the nearest item of each value of this column.", metavar="COLUMN"),
]
Collapse = Annotated[
    bool | None,
    Option(
        "--collapse/--no-collapse",
        help="Hide near-duplicates behind the nearest of them (as the settings say).",
    ),
]
Region = Annotated[
    str | None,
    Option(
        help="Search with this part of each photo: left, top, width and height as fractions of the"
        " upright photo, such as 0.5,0,0.5,1; or auto: what stands out from a plain background.",
        metavar="X,Y,W,H",
    ),
]
Fuse = Annotated[bool, Option("--fuse", help="Show one list more: all engines' lists as one.")]
Refine = Annotated[
    Literal["off", "expand", "rerank", "measured"] | None,
    Option(help="Refine the order by what is found; else as search.refine says."),
]
Paths = Annotated[
    bool, Option("--paths", help="Print the paths of the photos found, one a line, and no more.")
]
Grid = Annotated[
    Path | None, Option(help="Write a contact sheet of queries and neighbors.", metavar="PNG")
]

# Of evaluations.
Ablate = Annotated[bool, Option("--ablate", help="Measure what each stage of a search gains.")]
Label = Annotated[
    str,
    Option("--label", "-l", help="The column whose value relevant items share.", metavar="COLUMN"),
]
Queries = Annotated[
    int | None, Option(min=1, help="Items to search with, chosen at random; else all.")
]
QuerySet = Annotated[
    Path | None,
    Option(
        help="Search with these photos instead: a folder with a folder for each label, or a CSV"
        " file with the columns file and label.",
        metavar="PATH",
        parser=path_to_read,
    ),
]
Product = Annotated[
    str | None,
    Option(
        help="Items with the same value of this column are one product: they do not find each"
        " other.",
        metavar="COLUMN",
    ),
]
Cost = Annotated[bool, Option(help="Measure times as well.")]
