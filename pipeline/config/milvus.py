"""Settings of `index.type: milvus`: which server, and what it may use; not its credentials."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from pipeline.config.base import FilePath, Settings, Text


class MilvusSettings(Settings):
    """The Milvus server of `index.type: milvus`.

    Credentials come from the environment, and from nowhere else: IMGSEARCH_MILVUS_TOKEN, or
    IMGSEARCH_MILVUS_USER and IMGSEARCH_MILVUS_PASSWORD.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    uri: Text = "http://localhost:19530"
    """where it is; https:// for TLS"""
    database: Text = Field("default", description="the database in it, which must be there")
    prefix: Text | None = None
    """what names of collections and aliases begin with: another one for each catalog of a database;
    null: the catalog's name"""
    ca_file: FilePath | None = None
    """certificates by which the server's is checked, in PEM; null: those of the system"""
    server_name: Text | None = Field(
        None, description="the name in its certificate, if that is not the host's"
    )
    replicas: int = Field(1, ge=1, le=64)
    """copies in memory, on as many query nodes; with one, a node that dies means errors until its
    part is loaded elsewhere"""
    memory_gb: float | None = Field(None, gt=0)
    """memory of all query nodes together: what would not fit is refused before it is loaded; null:
    not compared, and Milvus may wait for memory without a word"""
    timeout: float = Field(10, gt=0, description="seconds for a query, with all its retries")
    publish_timeout: float = Field(600, gt=0)
    """seconds for each step of publishing, such as loading, with all its retries"""

    @field_validator("uri")
    @classmethod
    def _no_credentials(cls, uri: str) -> str:
        try:
            parts = urlsplit(uri)
            is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
            is_valid = is_valid and parts.port != 0 and parts.path in ("", "/")
        except ValueError:
            is_valid = False
        # What is wrong is not shown: it may hold a password.
        if "@" in uri:
            raise ValueError("credentials are not written here; set IMGSEARCH_MILVUS_TOKEN instead")
        if not is_valid or parts.query or parts.fragment:
            raise ValueError("write it as http://host:port, or https://host:port")
        return uri

    @field_validator("prefix")
    @classmethod
    def _is_name(cls, prefix: str | None) -> str | None:
        if prefix is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", prefix):
            raise ValueError(
                f"{prefix!r} cannot be a prefix: use up to 64 letters, digits and _, and begin with"
                " a letter"
            )
        return prefix
