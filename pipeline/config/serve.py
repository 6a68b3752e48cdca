"""Settings of `serve`: what the HTTP service takes, from whom, and how much of it."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from pipeline.config.base import MAX_COUNT, Settings, Text
from pipeline.config.networks import parse_networks


class ServeSettings(Settings):
    """How `imgsearch serve` answers over HTTP: to whom, and how much at a time."""

    model_config = ConfigDict(allow_inf_nan=False)

    token_hashes: tuple[Text, ...] = Field((), strict=False)
    """who may ask: hashes of tokens, as `imgsearch token` prints them; empty: whoever reaches it"""
    queue: int = Field(32, ge=1, le=4096)
    """searches that are answered or wait; whoever comes then is told to try again soon (503)"""
    max_k: int = Field(1000, ge=1, le=MAX_COUNT, description="neighbors of one search")
    requests_per_second: float | None = Field(10, gt=0)
    """of one client, on average; null: any number"""
    burst: int = Field(60, ge=1, le=MAX_COUNT)
    """requests that a client may make at once, after a pause"""
    body_timeout: float = Field(30, gt=0, description="seconds to send a request")
    grace: float = Field(20, ge=0)
    """seconds in which requests are finished when the service is told to stop"""
    fetch_urls: bool = Field(True, description="search with photos at URLs too, which are fetched")
    # Not pydantic's type for both, which takes a tenth of the time of importing pydantic.
    allow_addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    """private networks that photos may be fetched from; not those of download.allow_addresses, as
    here anyone names the URL"""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """whose X-Forwarded-For is believed, such as [127.0.0.1/32]"""
    cors_origins: tuple[Text, ...] = Field((), strict=False)
    """sites whose scripts may ask, such as [https://shop.example]"""
    keep_uploads: int = Field(0, ge=0, le=MAX_COUNT)
    """photos that were searched with and are kept, so that the address of an answer can be shared;
    the oldest go. 0: none"""
    show_paths: bool = True
    """answers name the files of photos, as `imgsearch query --json` does; never with --open"""
    access_log: Literal["lines", "json", "none"] = Field(
        "lines", description="a line for each request, on stderr"
    )

    @field_validator("token_hashes")
    @classmethod
    def _token_hashes(cls, hashes: tuple[str, ...]) -> tuple[str, ...]:
        for text in hashes:
            if not re.fullmatch("[0-9a-f]{64}", text):
                raise ValueError(f"{text!r} is no hash of a token: `imgsearch token` makes both")
        return hashes

    @field_validator("allow_addresses", "trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, networks: Any) -> Any:
        return parse_networks(networks)

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError(f"{origin!r}: give a site such as https://shop.example")
        return origins
