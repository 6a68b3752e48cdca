"""The page of an audit, made in the background when it is first asked for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pipeline.config import Config
from pipeline.engine import image_limits
from pipeline.service.problems import HttpProblem

_RETRY_SECONDS = 5


class AuditPages:
    """The audit of what is published: made when it is first asked for, in the background."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._publication = 0
        self._page: asyncio.Future[str] | None = None

    def get(self, publication: int) -> str:
        """Return the page.

        Raises:
            HttpProblem: it is being made: 503 with `Retry-After`.
            PipelineError: it cannot be made.
        """
        if self._page is None or self._publication != publication:
            loop = asyncio.get_running_loop()
            self._publication, self._page = (
                publication,
                loop.run_in_executor(self._pool, self._make),
            )
        if not self._page.done():
            headers = {"Retry-After": f"{_RETRY_SECONDS}"}
            message = "the photos are being looked at for the first time"
            raise HttpProblem(503, "busy", message, "try again in a few seconds", headers)
        page = self._page
        if page.cancelled() or page.exception():
            self._page = None  # whoever asks next has it tried again
        return page.result()

    def close(self) -> None:
        """Wait for nothing that is being made."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _make(self) -> str:
        from pipeline.maintenance.audit import audit, audit_page

        return audit_page(audit(self._config), image_limits(self._config))
