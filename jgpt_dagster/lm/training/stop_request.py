"""SIGTERM as a request to save a checkpoint and end."""

import signal


class StopRequest:
    """Whether this process has received SIGTERM since the object was made."""

    def __init__(self) -> None:
        self.received = False
        signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, number: int, frame: object) -> None:
        self.received = True
