"""A server of photos that can misbehave in every way that a downloader meets.

What it does is in the path, `/<behavior>/<n>.jpg`, where `n` picks the photo:

    with PhotoServer(photos) as server:
        server.url("photo/3")                     # http://127.0.0.1:<port>/photo/3.jpg
        server.url("redirect/3?hops=2")           # options follow the question mark

Run as a program it serves drawn photos and prints its address: for benchmarks.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import io
import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qsl, unquote

import pyarrow as pa
from PIL import Image

Photos = Sequence[bytes] | Callable[[int], bytes]
Behavior = Callable[["Call"], Awaitable[None]]

FOREVER = 2 * 10**9  # bytes
_BEHAVIORS: dict[str, Behavior] = {}


@dataclass(frozen=True)
class Request:
    """What was asked for, and when (`time.monotonic`)."""

    path: str
    time: float
    head: bytes

    @property
    def headers(self) -> dict[str, str]:
        """By name, in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        return {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}


@dataclass
class Call:
    """One request, as a behavior sees it."""

    server: PhotoServer
    path: str
    options: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    keeps_open: bool = False

    @property
    def photo(self) -> bytes:
        """The photo that the path names."""
        number = int(self.path.rpartition("/")[2].partition(".")[0])
        return self.server.photo(number)

    @property
    def is_first(self) -> bool:
        """Whether this path is asked for the first time."""
        return self.server.seen[self.path] == 1

    async def send(self, body: bytes = b"", status: str = "200 OK", **headers: object) -> None:
        """An honest answer (unless the headers say otherwise); the connection stays open."""
        self.writer.write(_head(status, {"Content-Length": len(body), **headers}) + body)
        await self.writer.drain()
        self.keeps_open = True

    def head(self, status: str = "200 OK", **headers: object) -> None:
        """The head of an answer; `Content_Length=3` is a header."""
        self.writer.write(_head(status, headers))

    async def pour(self, block: bytes) -> None:
        """The same bytes for ever, or nearly, to whoever goes on reading."""
        for _ in range(FOREVER // len(block)):
            self.writer.write(block)
            await self.writer.drain()

    async def wait(self) -> None:
        """Until the client has gone."""
        await self.reader.read()


def _head(status: str, headers: dict[str, object]) -> bytes:
    lines = (f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode("latin-1")


def _behavior(function: Behavior) -> Behavior:
    _BEHAVIORS[function.__name__.strip("_").replace("_", "-")] = function
    return function


# -- Good photos -----------------------------------------------------------------------------------


@_behavior
async def photo(call: Call) -> None:
    """At once."""
    await call.send(call.photo, Content_Type="image/jpeg")


@_behavior
async def slow(call: Call) -> None:
    """Half of `seconds` before the answer, half in the middle of it."""
    half, body = float(call.options.get("seconds", 0.3)) / 2, call.photo
    await asyncio.sleep(half)
    call.head(Content_Length=len(body))
    call.writer.write(body[: len(body) // 2])
    await asyncio.sleep(half)
    call.writer.write(body[len(body) // 2 :])
    call.keeps_open = True


@_behavior
async def chunked(call: Call) -> None:
    """In chunks of 100 bytes."""
    call.head(Transfer_Encoding="chunked")
    body = call.photo
    for start in range(0, len(body), 100):
        part = body[start : start + 100]
        call.writer.write(b"%x\r\n%s\r\n" % (len(part), part))
    call.writer.write(b"0\r\n\r\n")
    call.keeps_open = True


@_behavior
async def until_close(call: Call) -> None:
    """Without saying how long it is."""
    call.head()
    call.writer.write(call.photo)


@_behavior
async def packed(call: Call) -> None:
    """Packed, as `encoding` says, though nobody asked for that."""
    encoding = call.options.get("encoding", "gzip")
    name = "deflate" if encoding == "raw" else encoding
    await call.send(_PACK[encoding](call.photo), Content_Encoding=name)


@_behavior
async def redirect(call: Call) -> None:
    """The photo, after `hops` redirects (relative and absolute in turn)."""
    hops = int(call.options.get("hops", 1)) - 1
    name = call.path.rpartition("/")[2]
    rest = f"/redirect/{name}?hops={hops}" if hops else f"/photo/{name}"
    place = f"{call.server.address}{rest}" if hops % 2 else rest
    status = ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent")[hops % 5]
    await call.send(b"moved", status, Location=place, Set_Cookie="seen=1; Path=/")


@_behavior
async def wants_cookie(call: Call) -> None:
    """A redirect to itself, which sets a cookie, until that comes back."""
    if call.server.requests[-1].headers.get("cookie") == "visit=1":
        await call.send(call.photo)
    else:
        await call.send(b"", "302 Found", Location=call.path, Set_Cookie="visit=1; Path=/")


@_behavior
async def fails_once(call: Call) -> None:
    """500, then the photo."""
    if call.is_first:
        await call.send(b"oh", "500 Internal Server Error")
    else:
        await call.send(call.photo)


@_behavior
async def busy_once(call: Call) -> None:
    """429 (or `status`) with `Retry-After: after`, then the photo."""
    if call.is_first:
        status = call.options.get("status", "429")
        await call.send(b"", f"{status} Busy", Retry_After=call.options.get("after", "0"))
    else:
        await call.send(call.photo)


@_behavior
async def as_animation(call: Call) -> None:
    """A GIF of three frames."""
    await call.send(animation(), Content_Type="image/gif")


@_behavior
async def as_webp(call: Call) -> None:
    """WebP that calls itself JPEG."""
    await call.send(webp(), Content_Type="image/jpeg")


@_behavior
async def as_cmyk(call: Call) -> None:
    """A JPEG for printing."""
    await call.send(cmyk(), Content_Type="image/jpeg")


@_behavior
async def as_tiny(call: Call) -> None:
    """One pixel."""
    await call.send(tiny(), Content_Type="image/png")


# -- Answers that are no good photo ----------------------------------------------------------------


@_behavior
async def status(call: Call) -> None:
    """The status `is`, always, with `Retry-After: after` if given."""
    after = {"Retry-After": call.options["after"]} if "after" in call.options else {}
    body = b"" if call.options["is"] in ("204", "304") else b"no"
    await call.send(body, f"{call.options['is']} No", **after)


@_behavior
async def truncated(call: Call) -> None:
    """Half a photo, declared as that."""
    await call.send(call.photo[: len(call.photo) // 2], Content_Type="image/jpeg")


@_behavior
async def html(call: Call) -> None:
    """A page that calls itself a photo."""
    page = f"<html><body>{call.path} is sold out</body></html>".encode()
    await call.send(page, Content_Type="image/jpeg")


@_behavior
async def empty(call: Call) -> None:
    """Nothing, successfully."""
    await call.send(b"", Content_Type="image/jpeg")


@_behavior
async def bomb(call: Call) -> None:
    """A small PNG of 50,000 × 50,000 pixels."""
    await call.send(png_bomb(), Content_Type="image/png")


@_behavior
async def packed_bomb(call: Call) -> None:
    """64 KB that unpack to 64 MB."""
    await call.send(gzip_bomb(), Content_Encoding="gzip")


@_behavior
async def mispacked(call: Call) -> None:
    """A photo that says it is packed, and is not; or whose packing ends early if `cut`."""
    body = gzip.compress(call.photo)[:-100] if "cut" in call.options else call.photo
    await call.send(body, Content_Encoding="gzip")


@_behavior
async def strangely_packed(call: Call) -> None:
    """Packed in a way that was not asked for and is not known."""
    await call.send(b"\x1f\x9d" + call.photo, Content_Encoding="compress")


@_behavior
async def boast(call: Call) -> None:
    """A photo declared as 2 GB; then nothing, or the end if `close`."""
    call.head(Content_Length=FOREVER)
    call.writer.write(call.photo)
    if "close" not in call.options:
        await call.wait()


@_behavior
async def surplus(call: Call) -> None:
    """2 GB declared as 10 KB: what comes after those is the answer to nothing."""
    # All in one piece, or else the client might have its 10 KB before it sees the rest.
    call.writer.write(_head("200 OK", {"Content-Length": 10_240}) + bytes(65_536))
    await call.pour(bytes(65_536))


@_behavior
async def flood(call: Call) -> None:
    """Chunks without end."""
    call.head(Transfer_Encoding="chunked")
    await call.pour(b"10000\r\n" + bytes(65_536) + b"\r\n")


@_behavior
async def loop(call: Call) -> None:
    """A redirect to itself."""
    await call.send(b"", "302 Found", Location=call.path)


@_behavior
async def elsewhere(call: Call) -> None:
    """A redirect to where `to` says; to nowhere without it."""
    place = {"Location": call.options["to"]} if "to" in call.options else {}
    await call.send(b"", "302 Found", **place)


# -- Connections that break ------------------------------------------------------------------------


@_behavior
async def silent(call: Call) -> None:
    """Listens, and never answers."""
    await call.wait()


@_behavior
async def stalled(call: Call) -> None:
    """Half a photo, and never the rest."""
    call.head(Content_Length=len(call.photo))
    call.writer.write(call.photo[: len(call.photo) // 2])
    await call.wait()


@_behavior
async def drip(call: Call) -> None:
    """A byte now and then: no read takes long, the photo takes for ever."""
    call.head(Content_Length=100_000)
    for _ in range(100_000):
        call.writer.write(b"\xff")
        await call.writer.drain()
        await asyncio.sleep(0.2)


@_behavior
async def hang_up(call: Call) -> None:
    """Closes without a word."""


@_behavior
async def short(call: Call) -> None:
    """Closes in the middle of the photo."""
    call.head(Content_Length=len(call.photo))
    call.writer.write(call.photo[: len(call.photo) // 2])


@_behavior
async def reset(call: Call) -> None:
    """Breaks the connection in the middle of the photo."""
    await short(call)
    await call.writer.drain()
    connection = call.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.writer.transport.abort()


@_behavior
async def garbage(call: Call) -> None:
    """Not HTTP."""
    call.writer.write(random.Random(call.path).randbytes(500).replace(b"H", b"h"))


@_behavior
async def huge_head(call: Call) -> None:
    """A header of a megabyte."""
    await call.send(call.photo, X_Padding="x" * 2**20)


# -- Pictures --------------------------------------------------------------------------------------


def draw(number: int, side: int = 96) -> bytes:
    """A JPEG of noise, another for each number."""
    noise = Image.frombytes("RGB", (12, 12), random.Random(number).randbytes(12 * 12 * 3))
    file = io.BytesIO()
    noise.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


@cache
def animation() -> bytes:
    """A GIF of three frames."""
    first, *others = (Image.new("P", (40, 30), color) for color in (1, 2, 3))
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=100, loop=0)
    return file.getvalue()


@cache
def webp() -> bytes:
    """A WebP file."""
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (10, 120, 230)).save(file, "WEBP")
    return file.getvalue()


@cache
def cmyk() -> bytes:
    """A JPEG of four inks."""
    file = io.BytesIO()
    Image.new("CMYK", (40, 30), (10, 120, 230, 40)).save(file, "JPEG")
    return file.getvalue()


@cache
def tiny() -> bytes:
    """A PNG of one pixel."""
    file = io.BytesIO()
    Image.new("RGB", (1, 1), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


@cache
def png_bomb() -> bytes:
    """A PNG whose header declares 50,000 × 50,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (header, pixels, b"IEND")))


def _chunk(content: bytes) -> bytes:
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


@cache
def gzip_bomb() -> bytes:
    """64 MB of zeros, packed."""
    return gzip.compress(bytes(2**26))


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


_PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw": _raw_deflate,
    "br": lambda data: pa.Codec("brotli").compress(data, asbytes=True),
    "zstd": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


# -- The server ------------------------------------------------------------------------------------


@dataclass
class PhotoServer:
    """Serves on 127.0.0.1, in a thread of its own, while its context lasts.

    `robots` is the status and the text of /robots.txt, `robots_at` where it redirects to,
    `robots_after` its `Retry-After`. `raw` has the bytes with which a path (and query) is answered,
    before the connection is closed. Whatever name a client used for this server, `peaks` has how
    many requests with that `Host` there were at once, at most.
    """

    photos: Photos = tuple(draw(number) for number in range(8))
    port: int = 0
    robots: tuple[str, str] = ("404 Not Found", "")
    robots_at: str = ""
    robots_after: str = ""
    raw: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    peaks: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    interface: str = "127.0.0.1"
    _now: Counter[str] = field(default_factory=Counter)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __enter__(self) -> PhotoServer:
        # By its number, or else asyncio does not take it for TCP and lets small writes wait.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self.interface, self.port))
        self._listener.listen(1024)
        self.port = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def address(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, what: str, host: str = "127.0.0.1") -> str:
        """`photo/3` or `slow/3?seconds=1` → a URL, at any name that leads here."""
        path, mark, options = what.partition("?")
        return f"http://{host}:{self.port}/{path}.jpg{mark}{options}"

    def photo(self, number: int) -> bytes:
        """The photo that is served under a number; a sequence begins again at its end."""
        if callable(self.photos):
            return self.photos(number)
        return self.photos[number % len(self.photos)]

    def asked(self, part: str = "") -> list[Request]:
        """The requests so far whose path and options contain this."""
        return [request for request in self.requests if part in request.path]

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, sock=self._listener, backlog=1024)
        async with server:
            await self._stop.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the server is closing
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split(b" ", 2)[1].decode("latin-1")
        path, _, options = target.partition("?")
        self.requests.append(Request(target, time.monotonic(), head))
        self.seen[path] += 1
        host = head.partition(b"\r\nHost: ")[2].partition(b"\r\n")[0].decode("latin-1")
        name = host.rpartition(":")[0]
        self._now[name] += 1
        self.peaks[name] = max(self.peaks[name], self._now[name])
        try:
            call = Call(self, path, dict(parse_qsl(options)), reader, writer)
            if path == "/robots.txt":
                named = {"Location": self.robots_at, "Retry-After": self.robots_after}
                headers = {name: value for name, value in named.items() if value}
                await call.send(self.robots[1].encode(), self.robots[0], **headers)
            elif target in self.raw:
                writer.write(self.raw[target])
            elif behavior := _BEHAVIORS.get(unquote(path).split("/")[1]):
                await behavior(call)
            else:
                await call.send(b"?", "404 Not Found")
            return call.keeps_open
        finally:
            self._now[name] -= 1


# -- Everything at once ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """What the ledger should say of a URL in the end."""

    url: str
    state: str  # available, failed or rejected
    reason: str


# (what is asked for, state, reason, how many in 10,000). `{n}` is the number of the photo.
_MIXTURE = (
    ("slow/{n}?seconds=0.1", "available", "", 200),
    ("slow/{n}?seconds=0.4", "available", "", 100),
    ("slow/{n}?seconds=1.2", "available", "", 20),
    ("chunked/{n}", "available", "", 100),
    ("until-close/{n}", "available", "", 100),
    ("packed/{n}", "available", "", 50),
    ("packed/{n}?encoding=deflate", "available", "", 50),
    ("packed/{n}?encoding=raw", "available", "", 50),
    ("packed/{n}?encoding=br", "available", "", 20),
    ("packed/{n}?encoding=zstd", "available", "", 20),
    ("redirect/{n}", "available", "", 100),
    ("redirect/{n}?hops=4", "available", "", 50),
    ("wants-cookie/{n}", "available", "", 50),
    ("fails-once/{n}", "available", "", 100),
    ("busy-once/{n}", "available", "", 60),
    ("busy-once/{n}?status=503", "available", "", 40),
    ("as-animation/{n}", "available", "", 50),
    ("as-webp/{n}", "available", "", 50),
    ("as-cmyk/{n}", "available", "", 50),
    ("as-tiny/{n}", "available", "", 50),
    ("status/{n}?is=404", "failed", "HTTP 404", 200),
    ("status/{n}?is=410", "failed", "HTTP 410", 50),
    ("status/{n}?is=403", "failed", "HTTP 403", 50),
    ("status/{n}?is=500", "failed", "HTTP 500", 50),
    ("status/{n}?is=429&after=0", "failed", "HTTP 429", 50),
    ("strangely-packed/{n}", "failed", "unknown content encoding", 50),
    ("mispacked/{n}", "failed", "broken content encoding", 50),
    ("loop/{n}", "failed", "too many redirects", 50),
    ("elsewhere/{n}", "failed", "redirect without a place to go", 50),
    ("elsewhere/{n}?to=http://127.0.0.2/a.jpg", "failed", "forbidden address", 30),
    ("elsewhere/{n}?to=http://169.254.169.254/a.jpg", "failed", "forbidden address", 30),
    ("elsewhere/{n}?to=file:///etc/passwd", "failed", "not an http or https URL", 30),
    ("http://169.254.169.254/latest/{n}.jpg", "failed", "forbidden address", 30),
    ("http://0xa9fea9fe/latest/{n}.jpg", "failed", "forbidden address", 30),
    ("ftp://127.0.0.1/{n}.jpg", "failed", "not an http or https URL", 30),
    ("www.shop.example//{n}.jpg", "failed", "not a URL", 30),
    ("silent/{n}", "failed", "read timeout", 30),
    ("stalled/{n}", "failed", "read timeout", 30),
    ("drip/{n}", "failed", "total timeout", 30),
    ("hang-up/{n}", "failed", "connection lost", 50),
    ("short/{n}", "failed", "connection lost", 50),
    ("reset/{n}", "failed", "connection lost", 50),
    ("garbage/{n}", "failed", "invalid response", 50),
    ("huge-head/{n}", "failed", "response headers too large", 20),
    ("surplus/{n}", "failed", "invalid response", 30),
    ("truncated/{n}", "rejected", "truncated", 100),
    ("html/{n}", "rejected", "not an image", 100),
    ("empty/{n}", "rejected", "empty file", 50),
    ("bomb/{n}", "rejected", "too many pixels", 50),
    ("packed-bomb/{n}", "rejected", "too many bytes", 20),
    ("boast/{n}", "rejected", "too many bytes", 30),
    ("boast/{n}?close=1", "rejected", "too many bytes", 30),
    ("flood/{n}", "rejected", "too many bytes", 20),
)


def mixed(server: PhotoServer, count: int, seed: int) -> list[Expected]:
    """So many different URLs, mostly of plain photos, with everything above among them.

    True for attempts from 2, redirects 5, backoff 0.05, timeouts from 1 s (connect, read) and 3 s
    (total), `ImageLimits` of at most 50 MB, `allow_addresses` 127.0.0.1/32, and for runs that are
    killed and started again: no outcome depends on what was asked for before.
    """
    rng = random.Random(seed)
    plain = ("photo/{n}", "available", "", 10_000 - sum(weight for *_, weight in _MIXTURE))
    kinds = (*_MIXTURE, plain)
    weights = [weight for *_, weight in kinds]
    chosen = [*kinds[:count], *rng.choices(kinds, weights, k=max(0, count - len(kinds)))]
    rng.shuffle(chosen)
    expected = []
    for number, (what, state, reason, _) in enumerate(chosen):
        text = what.format(n=number)
        url = text if "//" in text.partition("?")[0] else server.url(text)
        expected.append(Expected(url, state, reason))
    return expected


def main() -> None:
    """Serve drawn photos until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--photos", type=int, default=64, help="how many different ones")
    parser.add_argument("--side", type=int, default=250, help="of each, in pixels")
    parser.add_argument("--folder", type=Path, help="serve the JPEG files in it instead")
    options = parser.parse_args()
    if options.folder:
        photos = [file.read_bytes() for file in sorted(options.folder.glob("*.jpg"))]
    else:
        photos = [draw(number, options.side) for number in range(options.photos)]
    with PhotoServer(photos, options.port) as server:
        print(server.address, flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
