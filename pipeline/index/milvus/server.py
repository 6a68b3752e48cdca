"""One connection to a Milvus server: retries within a deadline, and one-line errors."""

from __future__ import annotations

import logging
import os
import re
import time
from threading import Lock
from typing import Any

from pipeline.config import MilvusSettings, expand
from pipeline.errors import VectorDatabaseError

TOKEN, USER, PASSWORD = (f"IMGSEARCH_MILVUS_{name}" for name in ("TOKEN", "USER", "PASSWORD"))
"""Where credentials come from: variables of the environment."""
NO_COLLECTION = 100  # Milvus's code for a collection that is not there
_PERMANENT = {
    NO_COLLECTION,
    6,
    1100,
}  # codes: no such collection, wrong expression, wrong parameter
_FORBIDDEN = re.compile(r"\bauth|unauthenticated|permission|privilege", re.IGNORECASE)
_REFUSED = re.compile(
    r"cannot parse|invalid|illegal|not supported|database not found", re.IGNORECASE
)
_UNREACHABLE = re.compile(r"connect|unavailable", re.IGNORECASE)
_UNLOADED = re.compile(r"not (?:fully )?loaded|state 'released'", re.IGNORECASE)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between tries
_CA_HINT = "set index.milvus.ca_file to the certificates, or to null"
_MAX_SHOWN = 300  # characters of what the server said


class MilvusServer:
    """A server, to which a connection is made when it is first needed; for several threads.

    MilvusServer(config.index.milvus).call("has_collection", "shoes_vgg16")
    """

    def __init__(self, settings: MilvusSettings) -> None:
        self.settings = settings
        self._client: Any = None
        self._lock = Lock()

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def call(
        self,
        method: str,
        *arguments: Any,
        seconds: float | None = None,
        retry: bool = True,
        **options: Any,
    ) -> Any:
        """Call a method of `pymilvus.MilvusClient`; what may pass is tried again until a deadline.

        That is `seconds` away, or `publish_timeout`.

        Raises:
            VectorDatabaseError: it does not work, in one line without credentials.
        """
        errors = _errors()  # before the time begins, as it imports pymilvus
        seconds = self.settings.publish_timeout if seconds is None else seconds
        deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE
        while True:
            try:
                client = self._connected(deadline)
                return getattr(client, method)(*arguments, timeout=_left(deadline), **options)
            except errors as error:
                is_late = time.monotonic() + pause >= deadline
                if is_late or not retry or not _may_pass(error):
                    raise self._one_line(error, method) from None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _connected(self, deadline: float) -> Any:
        """Return the connection: one thread makes it, and others wait until their deadline."""
        if self._client is None:
            if not self._lock.acquire(timeout=_left(deadline)):
                raise TimeoutError("it cannot be reached")
            try:
                self._client = self._client or self._connect(_left(deadline))
            finally:
                self._lock.release()
        return self._client

    def _connect(self, seconds: float) -> Any:
        from pymilvus import MilvusClient

        return MilvusClient(
            self.settings.uri,
            token=_token(),
            db_name=self.settings.database,
            timeout=seconds,
            dedicated=True,  # others to the same address may have other certificates
            **self._tls(),
        )

    def _tls(self) -> dict[str, Any]:
        if not self.settings.uri.startswith("https://"):
            return {}
        file = self.settings.ca_file and expand(self.settings.ca_file)
        if file and not file.is_file():
            raise VectorDatabaseError("there is no such file", where=file, hint=_CA_HINT)
        return {
            "secure": True,
            "server_pem_path": str(file or ""),
            "server_name": self.settings.server_name or "",
        }

    def _one_line(self, error: Exception, method: str) -> VectorDatabaseError:
        said = _said(error)
        for secret in _secrets():
            said = said.replace(secret, "***")
        if len(said) > _MAX_SHOWN:
            said = f"{said[:_MAX_SHOWN]}…"
        hint = "see whether the server runs, and try again"
        if _FORBIDDEN.search(said):
            hint = f"set {TOKEN}, or {USER} and {PASSWORD}"
        elif getattr(error, "code", None) == NO_COLLECTION:
            hint = "run `imgsearch build`, which makes it again"
        elif _UNLOADED.search(said):
            hint = (
                "wait until the server has loaded it, or run `imgsearch build`, which has it loaded"
            )
        what = f"Milvus failed ({method}): {said}"
        return VectorDatabaseError(what, where=self.settings.uri, hint=hint)


def _left(deadline: float) -> float:
    """Seconds until then, as a timeout, which must not be 0."""
    return max(deadline - time.monotonic(), 0.01)


def _errors() -> tuple[type[Exception], ...]:
    """Import pymilvus, and return what its methods raise, or who waits for a connection.

    Raises:
        VectorDatabaseError: it is not installed.
    """
    try:
        import grpc
        from pymilvus import MilvusException
    except ImportError as error:
        message, hint = "pymilvus is not installed", "run `pip install 'imgsearch[milvus]'`"
        raise VectorDatabaseError(message, where="index.type", hint=hint) from error
    # It prints tracebacks of what it raises as well.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    return MilvusException, grpc.RpcError, TimeoutError


def _may_pass(error: Exception) -> bool:
    """Whether it makes sense to try again."""
    said = _said(error)
    if getattr(error, "code", None) in _PERMANENT or _FORBIDDEN.search(said):
        return False
    return bool(_UNREACHABLE.search(said)) or not _REFUSED.search(said)


def _said(error: Exception) -> str:
    """What the server said, on one line, and why it cannot be reached, if the cause says it."""
    causes = [error, error.__cause__]
    texts = [str(getattr(one, "message", "") or "") for one in causes if one is not None]
    texts += [one.details() for one in causes if one is not None and hasattr(one, "details")]
    return " ".join(": ".join(filter(None, dict.fromkeys(texts))).split()) or str(error)


def _token() -> str:
    token = os.environ.get(TOKEN, "")
    if not token and (user := os.environ.get(USER)):
        token = f"{user}:{os.environ.get(PASSWORD, '')}"
    return token


def _secrets() -> list[str]:
    """What must not be shown, the longest first."""
    found = {_token(), os.environ.get(PASSWORD, "")} - {""}
    return sorted(found, key=len, reverse=True)
