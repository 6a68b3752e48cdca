"""Milvus Lite in this process, started when a test first asks for it; and catalogs that use it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from typing import Any

import pytest

from pipeline.config import MilvusSettings
from pipeline.engine import Engine
from tests.conftest import ENGINE, Shop


@cache
def lite_uri() -> str:
    """Where Milvus Lite listens."""
    pytest.importorskip("milvus_lite")
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    folder = tempfile.mkdtemp()
    server, db, port = start_server_in_thread(folder)

    def stop() -> None:
        server.stop(grace=None).wait()
        db.close()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return f"http://127.0.0.1:{port}"


def lite_settings(**changes: Any) -> MilvusSettings:
    return MilvusSettings(**{"uri": lite_uri(), "timeout": 20, "publish_timeout": 60, **changes})


def use_milvus(shop: Shop, settings: MilvusSettings) -> None:
    """Let a catalog be searched by a server from now on."""
    index = shop.config.index.model_copy(update={"type": "milvus", "milvus": settings})
    shop.config = shop.config.model_copy(update={"index": index})
    shop.engine = Engine(ENGINE, shop.config)
