"""Settings of `download`: how photos at URLs are fetched, and how they are kept."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from pipeline.config.base import MAX_COUNT, Settings, Text
from pipeline.config.networks import parse_networks


class DownloadSettings(Settings):
    """How photos are fetched from their URLs, and kept; only a table has URLs.

    Hosts are asked in turn. A host that answers 429 or 503 with Retry-After is left alone until
    then; if that is more than 15 minutes, for the rest of the run. Only http and https are
    followed, and never to an address of a private network.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    resize: int | str = 250
    """250: a square of 250×250 pixels by LANCZOS, as in the article, whatever the photo's shape |
    fit 512: the longer side brought down to 512 pixels | none: as it came. 16 to 4096. A change
    holds for photos that come after it"""
    quality: int = Field(75, ge=1, le=95, description="of the JPEG files that are kept, 1 to 95")
    concurrency: int = Field(64, ge=1, le=1024)
    """photos at a time; each may take images.max_bytes of memory"""
    per_host: int = Field(8, ge=1, le=1024, description="photos at a time from one host")
    requests_per_second: float | None = Field(None, ge=0.001)
    """to one host, 0.001 or more; null: as fast as it answers"""
    attempts: int = Field(4, ge=1, le=20)
    """requests for one photo, the first one included"""
    backoff: float = Field(0.5, ge=0, le=60)
    """seconds before the second request, doubled before each further one"""
    connect_timeout: float = Field(10, gt=0, description="seconds")
    read_timeout: float = Field(20, gt=0, description="seconds without a byte")
    total_timeout: float = Field(120, gt=0)
    """seconds for one photo, all attempts and waits included"""
    redirects: int = Field(5, ge=0, le=20, description="followed for one photo")
    give_up_after: int = Field(100, ge=1, le=MAX_COUNT)
    """failures of a host in a row, after which its other photos fail at once"""
    robots: Literal["obey", "ignore"] = "obey"
    """obey robots.txt and its Crawl-delay; it is asked for once a host | ignore it, if the photos
    are yours to fetch"""
    user_agent: Text = "imgsearch/0.1 (downloads the photos of a product list)"
    """who asks; name a contact here"""
    # Not pydantic's type for both, which takes a tenth of the time of importing pydantic.
    allow_addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    """private networks that may be asked, such as [192.168.1.0/24]"""

    @field_validator("user_agent")
    @classmethod
    def _user_agent(cls, name: str) -> str:
        if not re.fullmatch("[!-~][ -~]*", name):
            raise ValueError(f"{name!r}: give printable ASCII that does not begin with a space")
        return name

    @field_validator("allow_addresses", mode="before")
    @classmethod
    def _allow_addresses(cls, networks: Any) -> Any:
        return parse_networks(networks)

    @field_validator("resize")
    @classmethod
    def _resize(cls, resize: int | str) -> int | str:
        if isinstance(resize, str) and re.fullmatch("[1-9][0-9]{1,3}", resize):
            resize = int(resize)
        side = re.fullmatch("(?:fit )?([1-9][0-9]{1,3})", str(resize))
        if resize != "none" and not (side and 16 <= int(side[1]) <= 4096):
            raise ValueError(
                f"{resize!r}: give the pixels of a side (250), the limit of the longer side"
                " (fit 512), 16 to 4096, or none"
            )
        return resize
