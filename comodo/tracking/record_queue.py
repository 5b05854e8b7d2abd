"""Makes records in order, in a separate thread, however long MLflow is away.

Knows neither sweeps nor trials. A record is a call that is repeated until MLflow accepts or
refuses it. If an answer is lost, a record is made twice: the second time must change nothing.
"""

import threading
from collections.abc import Callable
from queue import Queue

from mlflow.tracking import MlflowClient

from comodo.core.console import console
from comodo.tracking.runs import FAILURES, print_failure

RETRY_SECONDS = 10.0  # seconds between two tries while MLflow is away


class RecordQueue:
    """The records of one driver; `opening` is the first, without which no other can be made."""

    def __init__(self, uri: str, opening: Callable[[], None]) -> None:
        self._uri = uri
        self._opened = False
        self._waiting = Queue[Callable[[], None]]()
        self._over = threading.Event()  # nobody waits any longer for MLflow to come back
        self._away = False
        self._missing = 0  # records that were given up
        self._broken: BaseException | None = None
        self.make(opening)
        # A daemon, so that a driver that fails ends at once.
        threading.Thread(target=self._work, name="records", daemon=True).start()

    def make(self, call: Callable[[], None]) -> None:
        """Queues a record; raises the error of an earlier one that is a bug."""
        if self._broken is not None:
            raise self._broken
        self._waiting.put(call)

    def settle(self) -> None:
        """Waits until all records are made or given up; if MLflow is away, after one more try."""
        self._over.set()
        self._waiting.join()
        if self._broken is not None:
            raise self._broken

    def close(self) -> None:
        """As `settle`; then prints how many records are missing."""
        self.settle()
        if self._missing:
            console.print(
                f"MLflow: {self._missing} records could not be made; the same command, run again, "
                "makes them from the store",
                style="yellow",
            )

    def _work(self) -> None:
        while True:
            call = self._waiting.get()
            try:
                if self._broken is None:
                    self._make(call)
            except BaseException as error:  # a bug, for the driver to raise
                self._broken = error
            self._waiting.task_done()

    def _make(self, call: Callable[[], None]) -> None:
        refused = False
        while not self._missing:
            last = self._over.is_set()
            try:
                call()
            except FAILURES as error:
                if self._answers():
                    if not refused:  # once may be chance
                        refused = True
                        continue
                    print_failure(error, "this is not recorded")
                    if self._opened:
                        return
                    break
                if not self._away:
                    print_failure(
                        error, "training goes on; what is missing is recorded when MLflow is back"
                    )
                self._away = True
                if last:
                    break
                self._over.wait(RETRY_SECONDS)
            else:
                if self._away:
                    console.print("MLflow is back, recording continues")
                self._away, self._opened = False, True
                return
        self._missing += 1

    def _answers(self) -> bool:
        """Whether MLflow answers at all."""
        try:
            MlflowClient(self._uri).search_experiments(max_results=1)
        except FAILURES:
            return False
        return True
