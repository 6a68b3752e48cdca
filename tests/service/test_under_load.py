"""Many at a time: batches, refusals when it is full, swaps of publications, and an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.publish.store import PublicationStore
from pipeline.service import answering, batching
from pipeline.service.batching import BatchEncoder
from pipeline.service.decoding import PhotoDecoder, PixelBudget, read_all
from pipeline.service.published import PublishedState
from pipeline.service.server import Protocol
from tests.conftest import png
from tests.engines import Fair, Opener, Thing, ViewModel
from tests.service.conftest import THINGS, Client, running, with_settings

SWAPS = 8


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let models wait, until the event is set."""
    go, encode = threading.Event(), ViewModel.encode

    def wait(self: ViewModel, pixels: Any) -> Any:
        go.wait(30)
        return encode(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(ViewModel, "encode", wait)
        try:
            yield go
        finally:
            go.set()


def test_what_was_being_opened_when_the_service_ended_is_closed(fair: Fair) -> None:
    state = PublishedState(fair.config)
    fair.build(THINGS | {"new": Thing([(1, 2, 3)])})
    state.close()
    assert state.refresh()  # as by a thread that nobody waits for
    store = PublicationStore(fair.config)
    with store.held_for_removal(state.number) as is_free:
        assert is_free


def test_photos_of_several_requests_are_encoded_together(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    photos = [png((i, 2 * i, 3 * i)) for i in range(20)]
    with pipeline.open(fair.config) as searcher:
        prepared = [searcher.prepare(photo) for photo in photos]
        expected = [searcher.search(photo, 3) for photo in photos]

        async def ask() -> list[Any]:
            encoder = BatchEncoder(sizes.append)
            with held(monkeypatch) as go:
                tasks = [asyncio.create_task(encoder.encode(searcher, p)) for p in prepared]
                await asyncio.sleep(0)
                go.set()
                encoded = await asyncio.gather(*tasks)
            encoder.close()
            return encoded

        found = [searcher.search(photo, 3) for photo in asyncio.run(ask())]
    assert found == expected
    assert sum(sizes) == 20
    assert len(sizes) <= 3
    assert max(sizes) <= batching.MAX_BATCH


def test_pixels_beyond_the_budget_wait_their_turn() -> None:
    log: list[str] = []

    async def use(budget: PixelBudget, pixels: int) -> None:
        async with budget.take(pixels):
            log.append(f"+{pixels}")
            await asyncio.sleep(0)
            log.append(f"-{pixels}")

    async def run() -> None:
        budget = PixelBudget(100)
        await asyncio.gather(*(use(budget, pixels) for pixels in (60, 40, 1000, 10, 90)))

    asyncio.run(run())
    taken, most = 0, 0
    for entry in log:
        taken += int(entry[0] + "1") * min(100, int(entry[1:]))
        most = max(most, taken)
    assert (taken, most) == (0, 100)
    assert [entry for entry in log if entry[0] == "+"] == ["+60", "+40", "+1000", "+10", "+90"]


def test_a_photo_is_read_when_there_is_room_for_it() -> None:
    in_memory, most = 0, 0
    photo = png((1, 2, 3), (100, 100))

    def read() -> bytes:
        nonlocal in_memory, most
        in_memory += 1
        most = max(most, in_memory)
        return photo

    def work(data: bytes) -> int:
        nonlocal in_memory
        in_memory -= 1
        return len(data)

    async def run() -> list[int]:
        decoder = PhotoDecoder(2, PixelBudget(10_000))
        answers = await asyncio.gather(*(decoder.run(read, ImageLimits(), work) for _ in range(20)))
        decoder.close()
        return answers

    assert asyncio.run(run()) == [len(photo)] * 20
    assert most <= 2


def test_what_may_be_no_photo_is_read_one_at_a_time() -> None:
    inside, most = 0, 0
    may_end = threading.Event()

    def read() -> bytes:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        may_end.wait(0.01)  # for another thread to begin, if it may
        inside -= 1
        return b"no photo"

    async def run() -> list[Any]:
        decoder = PhotoDecoder(4, PixelBudget(10_000))
        tasks = [decoder.run(read, ImageLimits(), len) for _ in range(8)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(run())] == [RejectedImage] * 8
    assert most == 1


def test_who_comes_when_it_is_full_is_sent_away_at_once(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(with_settings(fair.config, queue=2)) as client, held(monkeypatch) as go:
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(client.post, "/api/search", png((1, 2, 3))) for _ in range(2)]
            while client.get("/metrics").body.find(b"imgsearch_searches 2.0") < 0:
                pass
            refused = client.post("/api/search", png((1, 2, 3)))
            assert (refused.status, refused.json["code"]) == (503, "busy")
            assert refused.headers["retry-after"] == "1"
            assert client.get("/healthz").status == 200
            go.set()
            assert [answer.result().status for answer in waiting] == [200, 200]
        assert client.post("/api/search", png((1, 2, 3))).status == 200


def test_an_answer_does_not_wait_for_its_headers_to_be_confirmed(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, no_delay = Protocol.connection_made, []

    def look(self: Protocol, transport: asyncio.Transport) -> None:
        made(self, transport)
        connection = transport.get_extra_info("socket")
        no_delay.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)

    monkeypatch.setattr(Protocol, "connection_made", look)
    with running(fair.config) as client:
        assert client.get("/healthz").status == 200
    assert no_delay == [True]


def test_photos_that_wait_to_be_decoded_are_encoded_together(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced, coming = BatchEncoder.announced, threading.Semaphore(0)
    monkeypatch.setattr(batching, "MAX_WAIT", 10.0)

    @contextmanager
    def counted(self: BatchEncoder) -> Iterator[None]:
        with announced(self):
            coming.release()
            yield

    def read_late(*arguments: Any) -> bytes:
        for _ in range(3):
            coming.acquire(timeout=10)
        for _ in range(3):
            coming.release()
        return read_all(*arguments)

    monkeypatch.setattr(BatchEncoder, "announced", counted)
    monkeypatch.setattr(answering, "read_all", read_late)
    embedding = fair.config.embedding.model_copy(update={"decoders": 1})
    with (
        running(fair.config.model_copy(update={"embedding": embedding})) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        photos = [pool.submit(client.post, "/api/search", png((1, 2, i))) for i in range(3)]
        assert [photo.result().status for photo in photos] == [200] * 3
        counts = client.get("/metrics").body
    assert b"imgsearch_batch_photos_count 1.0" in counts
    assert b"imgsearch_batch_photos_sum 3.0" in counts


@pytest.mark.soak
def test_publications_are_swapped_under_load(soak: bool, open_fair: Opener) -> None:
    """Each answer is that of one publication, whole; none fails."""
    fair = open_fair()
    fair.build(THINGS)
    store, state = PublicationStore(fair.config), PublishedState(fair.config)
    stop, failures, seen = threading.Event(), [], set()
    answered = threading.Semaphore(0)
    things = dict(THINGS)
    whole = {state.number: set(things)}

    def ask() -> None:
        while not stop.is_set():
            with state.current() as published:
                result = published.searcher.search(png((90, 20, 120)), 50)
            found = [{hit.item.key for hit in result[name].hits} for name in ("color", "mixed")]
            seen.add(result.publication)
            answered.release()
            if found != 2 * [whole[result.publication]] or result.publication != published.number:
                failures.append((result.publication, found))

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for number in range(SWAPS if soak else 3):
            things[f"new-{number}"] = Thing([(number, 255 - number, number)])
            fair.build(things)
            whole[store.current_number() or 0] = set(things)
            assert state.refresh()
            assert not state.refresh()
            while store.current_number() not in seen and not any(task.done() for task in asking):
                answered.acquire(timeout=10)
        stop.set()
        for task in asking:
            task.result()
    state.close()
    assert failures == []
    assert seen >= set(list(whole)[1:])


SERVE = """
import os, sys
from tests.engines import ViewModel
from pipeline import models
encode = ViewModel.encode

def wait(self, pixels):
    if (pixels[0, 0, 0] == (1, 2, 3)).all():
        os.read(0, 1)  # until this is closed
    return encode(self, pixels)

ViewModel.encode = wait
models.load = lambda name, folder, **_: ViewModel(name, fingerprint=folder.fingerprint)
sys.argv = ["imgsearch", *sys.argv[1:]]
from pipeline.cli import main
main()
"""


@pytest.fixture
def serve(fair: Fair) -> Iterator[Callable[..., tuple[subprocess.Popen[str], Client]]]:
    """Run the command in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> tuple[subprocess.Popen[str], Client]:
        file = fair.config.folder.parent / "shop.yaml"
        file.write_text(fair.config.model_dump_json())
        command = [sys.executable, "-c", SERVE, "serve", "-c", str(file), "--port", "0", *options]
        environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True, env=environment)
        started.append(process)
        assert process.stderr
        line = process.stderr.readline()
        assert "is served at http://127.0.0.1:" in line, line + process.stderr.read()
        return process, Client(int(line.split(":")[2].split("/")[0]))

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()


def test_it_ends_when_it_is_told_to_and_answers_what_it_accepted(
    serve: Callable[..., tuple[subprocess.Popen[str], Client]],
) -> None:
    process, client = serve("--set", "serve.requests_per_second=null")

    def is_open() -> bool:
        try:
            return client.get("/healthz").status == 200
        except ConnectionError:
            return False

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.post, "/api/search", png((1, 2, 3))) for _ in range(2)]
        while client.get("/metrics").body.find(b"imgsearch_searches 2.0") < 0:
            pass
        process.send_signal(signal.SIGTERM)
        while is_open():
            pass
        assert process.poll() is None
        assert process.stdin
        process.stdin.close()
        assert [answer.result().status for answer in waiting] == [200, 200]
    assert process.wait(20) == 0
