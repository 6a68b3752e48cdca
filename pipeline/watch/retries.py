"""When to try again what failed, and whether to say once more that it did."""

from __future__ import annotations

_MAX_WAIT = 300.0  # seconds


class Retries:
    """Waits longer after each failure in a row, and repeats no message."""

    def __init__(self, wait: float) -> None:
        """Wait `wait` seconds after the first failure."""
        self._first_wait = wait
        self._failures = 0
        self._said = ""
        self.due_at = 0.0
        """The time from which on to try again."""

    def failed(self, message: str, now: float, *, is_busy: bool = False) -> bool:
        """Note a failure; return whether its message is news.

        Who is busy will be done at some time: then the wait stays the same.
        """
        self.due_at = now + min(_MAX_WAIT, self._first_wait * 2**self._failures)
        self._failures += not is_busy
        is_news, self._said = message != self._said, message
        return is_news

    def retry_now(self) -> None:
        """Wait no longer: what failed may be mended."""
        self.due_at = 0.0

    def succeeded(self) -> bool:
        """Forget the failures; return whether there were any."""
        had_failed = bool(self._said)
        self._failures, self._said, self.due_at = 0, "", 0.0
        return had_failed
