import pytest

from edge.engines.backend import Backend


class Talkative:
    """Says something when it is freed, as an object of TensorRT may, wherever the collector strikes."""

    def __init__(self, backend: Backend) -> None:
        self._log = backend.log

    def __del__(self) -> None:
        self._log.logger.log(self._log.logger.WARNING, "freed")


@pytest.mark.timeout(20)
def test_a_message_may_come_while_messages_are_read(rtx: Backend) -> None:
    with rtx.log.collecting():
        with rtx.log._lock:
            Talkative(rtx)
        assert rtx.log.of("warning") == ("freed",)
