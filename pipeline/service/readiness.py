"""Whether searches are answered: also by the servers that some indexes need."""

from __future__ import annotations

import asyncio

from pipeline.service.published import PublishedState


class Readiness:
    """Looks whether searches are answered, once at a time: all who ask meanwhile share the answer.

    await Readiness(published).ensure()
    """

    def __init__(self, published: PublishedState) -> None:
        self._published = published
        self._look: asyncio.Task[None] | None = None

    async def ensure(self) -> None:
        """Return if they are.

        Raises:
            VectorDatabaseError: a server that an index needs does not answer.
        """
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(asyncio.to_thread(self._ensure))
        await asyncio.shield(self._look)

    def _ensure(self) -> None:
        with self._published.current() as published:
            for engine in published.searcher.engines.values():
                engine.ensure_ready()
