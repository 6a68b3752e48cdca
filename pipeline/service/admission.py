"""How much is answered at a time; whoever comes when that is full is sent away at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.service.problems import HttpProblem

RETRY_SECONDS = 1


class Admission:
    """So many at a time, and no more; for one event loop.

    with admission.enter(): ...
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take a place within the block.

        Raises:
            HttpProblem: all places are taken: 503 with `Retry-After`.
        """
        if self.inside >= self.limit:
            message = f"{self.limit} searches are being answered already"
            headers = {"Retry-After": f"{RETRY_SECONDS}"}
            raise HttpProblem(503, "busy", message, "try again in a moment", headers)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
