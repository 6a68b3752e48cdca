"""What all requests share: opened once, closed at the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.concurrency import cores
from pipeline.config import Config
from pipeline.config.schema import UPLOADS
from pipeline.engine import image_limits
from pipeline.images import ImageLimits
from pipeline.service.admission import Admission
from pipeline.service.audits import AuditPages
from pipeline.service.batching import BatchEncoder
from pipeline.service.decoding import PhotoDecoder, PixelBudget
from pipeline.service.fetching import PhotoFetcher
from pipeline.service.metrics import Metrics
from pipeline.service.published import PublishedState
from pipeline.service.readiness import Readiness
from pipeline.service.thumbnails import Thumbnails
from pipeline.service.uploads import Uploads

THUMBNAILS_PER_SEARCH = 32  # requests for thumbnails that may wait, for each search that may


@dataclass(frozen=True)
class Resources:
    """What all requests share; made where the event loop runs."""

    config: Config
    published: PublishedState
    limits: ImageLimits
    admission: Admission
    decoder: PhotoDecoder
    encoder: BatchEncoder
    search_pool: ThreadPoolExecutor
    fetcher: PhotoFetcher
    thumbnails: Thumbnails
    audits: AuditPages
    uploads: Uploads
    metrics: Metrics
    readiness: Readiness

    @property
    def photo_caching(self) -> str:
        """For how long a photo may be kept: its address names its content, so it never changes."""
        who = "private" if self.config.serve.token_hashes else "public"
        return f"{who}, max-age=31536000, immutable"

    @classmethod
    def open(cls, config: Config, published: PublishedState, metrics: Metrics) -> Resources:
        """Start what the requests for a published state need."""
        limits = image_limits(config)
        budget = PixelBudget(limits.max_pixels)
        queue = config.serve.queue
        return cls(
            config,
            published,
            limits,
            Admission(queue),
            PhotoDecoder(config.embedding.decoders, budget),
            BatchEncoder(metrics.batches.observe),
            ThreadPoolExecutor(max(2, cores()), thread_name_prefix="search"),
            PhotoFetcher(config),
            Thumbnails(PhotoDecoder(1, budget), Admission(queue * THUMBNAILS_PER_SEARCH), limits),
            AuditPages(config),
            Uploads(config.folder / UPLOADS, config.serve.keep_uploads),
            metrics,
            Readiness(published),
        )

    def close(self) -> None:
        """End all threads, and close what is published."""
        self.decoder.close()
        self.audits.close()
        self.thumbnails.close()
        self.encoder.close()
        self.search_pool.shutdown()
        self.published.close()
