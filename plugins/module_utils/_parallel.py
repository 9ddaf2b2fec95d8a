# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many requests at once, none after the task was told to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ._model import ClusterError

WORKERS = 12  # connections; measured with bench/objects.py: fewer leave an API server of two cores idle, more only wait in it

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result | ClusterError]:
    """The result for each item, in order and as soon as it is there; what the server refused comes as the error, and does not keep the others from being done.

    Anything else (a timeout of the task, Ctrl-C, Stopped) drops what waits in the queue and is raised at once.
    """
    work = list(items)
    if len(work) < 2:
        yield from (_caught(function, item) for item in work)
        return
    pool = ThreadPoolExecutor(min(WORKERS, len(work)))
    try:
        for future in [pool.submit(_caught, function, item) for item in work]:
            yield future.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def all_of(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """As `each`, but the first error is raised after all are done."""
    results: list[Result] = []
    for result in list(each(function, items)):
        if isinstance(result, ClusterError):
            raise result
        results.append(result)
    return results


def _caught(function: Callable[[Item], Result], item: Item) -> Result | ClusterError:
    try:
        return function(item)
    except ClusterError as error:
        return error
