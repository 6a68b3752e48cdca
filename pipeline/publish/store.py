"""Publications on disk: `publications/<n>/`, the pointer to the one that answers, and tags."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts import (
    MANIFEST,
    damaged,
    publish,
    read_manifest,
    read_sealed,
    write_sealed,
)
from pipeline.config import Config
from pipeline.config.schema import LEDGER, POINTER, PUBLICATIONS, TAGS
from pipeline.errors import DamagedArtifactError, NotBuiltError, QueryError
from pipeline.locks import lock_file
from pipeline.publish.publication import Publication


class Pointer(NamedTuple):
    """What `CURRENT` holds."""

    publication: int
    """The number of the one that answers."""
    newest: int
    """The highest number that has answered: the other one's, unless that was rolled back to."""


class PublicationStore:
    """All publications of a catalog; reading never waits, and needs no right to write.

    PublicationStore(config).current().number
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = config.folder / PUBLICATIONS
        self.current_file = config.folder / POINTER
        self.tags_file = config.folder / TAGS

    # --- reading ---------------------------------------------------------------------------------

    def pointer(self) -> Pointer | None:
        """Return which one answers, in less than a millisecond; None if nothing is published.

        Raises:
            DamagedArtifactError: the pointer is not what was written.
        """
        if not os.path.lexists(self.current_file):
            return None
        content = read_sealed(self.current_file, remove=self.current_file)
        try:
            return Pointer(**content)
        except TypeError as error:
            raise damaged(self.current_file, "it is no pointer", self.current_file) from error

    def last_pointer(self) -> Pointer:
        """Like `pointer`; where that is lost, number 0 answers, and the newest is what is there."""
        if pointer := self.pointer():
            return pointer
        return Pointer(0, max((one.number for one in self.all() if not one.faults), default=0))

    def current_number(self) -> int | None:
        """Return the number of the one that answers, or None."""
        pointer = self.pointer()
        return pointer.publication if pointer else None

    def current(self) -> Publication | None:
        """Return the one that answers; None if there is none, or if it was deleted."""
        number = self.current_number()
        return None if number is None else self.get(number)

    def get(self, number: int) -> Publication | None:
        """Return a publication, or None if there is none of this number.

        Raises:
            DamagedArtifactError: it is not what was written.
        """
        folder = self.folder / str(number)
        if not folder.is_dir():
            return None
        try:
            return Publication.from_dict(read_manifest(folder))
        except DamagedArtifactError:
            if folder.is_dir():
                raise
            return None  # it was retired just now
        except (KeyError, TypeError, AttributeError) as error:
            raise damaged(folder / MANIFEST, "it describes no publication") from error

    def numbers(self) -> list[int]:
        """Return the numbers of all publications, ascending."""
        names = (path.name for path in self.folder.glob("[0-9]*") if path.is_dir())
        return sorted(int(name) for name in names if name.isdecimal())

    def all(self) -> list[Publication]:
        """Return all publications, by number; one that the gate refused may be the last."""
        return [one for number in self.numbers() if (one := self.get(number))]

    def tags(self) -> dict[str, int]:
        """Name → the number of the publication that is tagged so."""
        if not os.path.lexists(self.tags_file):
            return {}
        return dict(read_sealed(self.tags_file, remove=self.tags_file)["tags"])

    def number_of(self, wanted: int | str) -> int:
        """Return the number of a publication, given that or a tag: `number_of("christmas")`.

        Raises:
            QueryError: there is no such publication.
        """
        number = self.tags().get(str(wanted))
        if number is None and str(wanted).isdecimal():
            number = int(wanted)
        if number is None or not self._manifest(number).exists():
            raise QueryError(
                f"there is no publication {wanted}",
                where=self.folder,
                hint="`imgsearch publications` lists them",
            )
        return number

    @contextmanager
    def leased(self, wanted: int | str | None = None) -> Iterator[Publication]:
        """Keep a publication from being removed while the block runs, or its process lives.

        `wanted` is a number or a tag, else the one that answers. Where locks do not work, as on
        some network drives, nothing is kept.

        Raises:
            NotBuiltError: nothing is published yet.
            QueryError: there is no such publication.
            DamagedArtifactError: it is not what was written.
        """
        while True:
            number = self._answering() if wanted is None else self.number_of(wanted)
            with lock_file(self._manifest(number), shared=True) as is_held:
                publication = self.get(number) if is_held else None
                if publication:
                    yield publication
                    return
            is_gone = not self._manifest(number).exists()
            if wanted is None and is_gone and self.current_number() == number:
                raise damaged(self._manifest(number), "it is missing")

    def columns_folder(self, number: int) -> Path:
        """Where columns of a publication's items are kept: see `catalog/column_store.py`."""
        return self.folder / str(number) / "columns"

    def _answering(self) -> int:
        number = self.current_number()
        if number is None:
            is_there = os.path.lexists(self.config.folder / LEDGER)
            what = "nothing is published yet" if is_there else "no catalog here yet"
            raise NotBuiltError(what, where=self.config.folder, hint="run `imgsearch build`")
        return number

    def _manifest(self, number: int) -> Path:
        return self.folder / str(number) / MANIFEST

    # --- writing, within the lock of `publications/` ----------------------------------------------

    def write(self, publication: Publication) -> None:
        """Write a publication; it answers once it is used."""
        with publish(self.folder / str(publication.number), publication.to_dict()):
            pass

    def use(self, number: int) -> None:
        """Let a publication answer from now on, in one step."""
        pointer = self.pointer()
        newest = max(number, pointer.newest if pointer else 0)
        write_sealed(self.current_file, Pointer(number, newest)._asdict())

    def tag(self, number: int, name: str) -> None:
        """Name a publication, which keeps it for ever; the name is taken from another one.

        Raises:
            QueryError: it cannot be a name.
        """
        if not re.fullmatch(r"(?![0-9]+$)\w[\w.-]*", name):
            raise QueryError(
                f"{name!r} cannot be a tag",
                hint="use letters, digits, '.', '_' and '-', and not digits only",
            )
        write_sealed(self.tags_file, {"tags": self.tags() | {name: number}})

    def remove_tag(self, name: str) -> None:
        """Take a name away; the publication stays as long as those without one.

        Raises:
            QueryError: nothing has this name.
        """
        tags = self.tags()
        if name not in tags:
            raise QueryError(
                f"there is no tag {name!r}", hint="`imgsearch publications` lists them"
            )
        write_sealed(self.tags_file, {"tags": {n: m for n, m in tags.items() if n != name}})

    @contextmanager
    def held_for_removal(self, number: int) -> Iterator[bool]:
        """Let no one lease a publication while the block runs; yield False where someone has."""
        if not self._manifest(number).exists():  # no one can
            yield True
            return
        with lock_file(self._manifest(number), shared=False) as is_held:
            yield is_held
