"""A limit of rate, with bursts."""

import time


class Bucket:
    """Allows `rate` per second and twice that in a burst."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = 2 * rate
        self._at = time.monotonic()

    def take(self, amount: float = 1) -> float:
        """Seconds by which `amount` comes too soon, 0 where it is in time."""
        now = time.monotonic()
        self._left = min(2 * self._rate, self._left + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._left / self._rate)
