"""Photos that were searched with, kept under the name of their content: a folder of the newest."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from pathlib import Path

from pipeline.artifacts import write_atomic
from pipeline.service.problems import HttpProblem

NAME = "[0-9a-f]{64}"
_LOG = logging.getLogger("pipeline.service")


class Uploads:
    """The last `limit` photos that were searched with; none, if that is 0.

    Uploads(folder, limit=100).keep(data)   # its name, by which `read` returns it
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit

    @property
    def is_on(self) -> bool:
        """Whether any are kept."""
        return self._limit > 0

    def keep(self, data: bytes) -> str | None:
        """Keep a photo, and forget those that nobody has asked for longest.

        Return its name; None where it cannot be kept, which is no reason not to answer.
        """
        name = hashlib.sha256(data).hexdigest()
        try:
            self._folder.mkdir(exist_ok=True)
            write_atomic(self._folder / name, data, flush=False)
        except OSError as error:
            _LOG.warning("photos are not kept: %s: %s", self._folder, os.strerror(error.errno or 0))
            return None
        files = sorted(self._photos(), key=_last_use, reverse=True)
        for file in files[self._limit :]:
            file.unlink(missing_ok=True)
        return name

    def read(self, name: str) -> bytes:
        """Return a photo that is kept.

        Raises:
            HttpProblem: it is not.
        """
        path = self._folder / name
        try:
            if not (self.is_on and re.fullmatch(NAME, name)):
                raise FileNotFoundError
            data = path.read_bytes()
        except FileNotFoundError:
            hint = "search with the photo itself"
            raise HttpProblem(404, "not_found", "that photo is not kept any more", hint) from None
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
        return data

    def _photos(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if re.fullmatch(NAME, path.name)]


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process has forgotten it
        return 0.0
