"""Settings of `index.milvus`: what is no address is refused, and no password is shown."""

from __future__ import annotations

import pytest

from pipeline.config import load_config
from pipeline.errors import ConfigError


@pytest.mark.parametrize("uri", ["https://anna:hunter2@milvus.example", "https://hunter2@host:1"])
def test_credentials_in_the_address_are_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(ConfigError, match="IMGSEARCH_MILVUS_TOKEN") as caught:
        load_config(None, [f"index.milvus.uri={uri}"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["milvus.example:19530", "./milvus.db", "http://", "http://h:99999", "https://h/db?x=1"]
)
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="http://host:port"):
        load_config(None, [f"index.milvus.uri={uri}"])


@pytest.mark.parametrize("prefix", ["9shop", "my shop", "a-b", "x" * 65])
def test_what_milvus_does_not_take_for_a_name_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a prefix"):
        load_config(None, [f"index.milvus.prefix='{prefix}'"])
