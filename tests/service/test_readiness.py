"""Whether a service says that it is ready: not while the server that its index needs is not."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import cast
from uuid import uuid4

import pytest

from pipeline.config import MilvusSettings
from pipeline.errors import VectorDatabaseError
from pipeline.index.milvus.server import MilvusServer
from pipeline.index.milvus.writing import drop
from pipeline.publish.store import PublicationStore
from pipeline.service.published import PublishedState
from pipeline.service.readiness import Readiness
from tests.conftest import ENGINE, Shop
from tests.milvus_server import lite_settings, use_milvus
from tests.service.conftest import running, with_settings


def test_a_service_is_ready_while_milvus_answers(shop: Shop) -> None:
    use_milvus(shop, lite_settings(prefix=f"p{uuid4().hex[:8]}"))
    shop.build({"a": [(200, 0, 0)], "b": [(0, 0, 200)]})
    (publication,) = PublicationStore(shop.config).all()
    with running(with_settings(shop.config)) as client:
        assert client.get("/readyz").json["ready"] is True
        with closing(MilvusServer(shop.config.index.milvus)) as server:
            drop(server, publication.collections[ENGINE].name)
        answer = client.get("/readyz")
        assert (answer.status, answer.json["code"]) == (503, "vector_database")
        assert client.ask(item=1).status == 503
        assert client.get("/healthz").status == 200
    use_milvus(shop, MilvusSettings(uri="http://127.0.0.1:1", timeout=0.2))
    with running(with_settings(shop.config)) as client:
        assert client.get("/readyz").status == 503


def test_all_who_ask_at_once_share_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    is_asked, looks = Event(), []

    def look(_: Readiness) -> None:
        looks.append(1)
        is_asked.wait()
        raise VectorDatabaseError("it is gone")

    async def ask() -> list[BaseException | None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))
        readiness = Readiness(cast(PublishedState, None))
        asking = [asyncio.create_task(readiness.ensure()) for _ in range(5)]
        await asyncio.sleep(0)
        is_asked.set()
        return await asyncio.gather(*asking, return_exceptions=True)

    monkeypatch.setattr(Readiness, "_ensure", look)
    assert [type(error) for error in asyncio.run(ask())] == [VectorDatabaseError] * 5
    assert len(looks) == 1
