"""The strategies that there are, ours and those of installed packages."""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import entry_points

from monailabel_app.active_learning.strategies.clasp import ClaspStrategy
from monailabel_app.active_learning.strategies.diversity import BadgeStrategy, CoreSetStrategy, TypiClustStrategy
from monailabel_app.active_learning.strategies.drawing import (
    ForegroundRandomStrategy,
    InOrderStrategy,
    RandomStrategy,
)
from monailabel_app.active_learning.strategies.hybrid import HybridStrategy
from monailabel_app.active_learning.strategies.power import (
    PowerBaldStrategy,
    PowerEntropyStrategy,
    SoftrankEntropyStrategy,
)
from monailabel_app.active_learning.strategies.uncertainty import (
    AleatoricStrategy,
    BaldStrategy,
    EntropyStrategy,
    MarginStrategy,
)
from monailabel_app.active_learning.strategy import BOTH_TASKS, AcquisitionStrategy, Need
from monailabel_app.errors import NotFound

logger = logging.getLogger(__name__)

ENTRY_POINTS = "labelloop.strategies"
"""The group under which an installed package names its subclasses of `AcquisitionStrategy`."""

OURS: tuple[type[AcquisitionStrategy], ...] = (
    RandomStrategy,
    InOrderStrategy,
    ForegroundRandomStrategy,
    ClaspStrategy,
    EntropyStrategy,
    PowerEntropyStrategy,
    SoftrankEntropyStrategy,
    MarginStrategy,
    BaldStrategy,
    PowerBaldStrategy,
    AleatoricStrategy,
    CoreSetStrategy,
    TypiClustStrategy,
    BadgeStrategy,
    HybridStrategy,
)


@cache
def all_strategies() -> dict[str, AcquisitionStrategy]:
    """Every strategy by its name, ours first. One that cannot be loaded or has a name of ours is left out (logged)."""
    found = {kind.name: kind() for kind in OURS}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            kind = point.load()
            if not (isinstance(kind, type) and issubclass(kind, AcquisitionStrategy)):
                raise TypeError(f"{point.value} is no subclass of AcquisitionStrategy")
            strategy = kind()
            _check(strategy)
            if strategy.name in found:
                raise ValueError(f"there is a strategy '{strategy.name}' already")
        except Exception as error:  # of somebody else's code: the server starts without it
            logger.warning("The strategy of the entry point '%s' is left out: %s", point.name, error)
            continue
        found[strategy.name] = strategy
    return found


def _check(strategy: AcquisitionStrategy) -> None:
    """Whether a strategy says about itself what every client is told.

    Raises:
        TypeError: A class variable is missing, or of another kind than `AcquisitionStrategy` says.
    """
    for variable in ("name", "title", "description", "source"):
        said = getattr(strategy, variable, None)
        if not isinstance(said, str) or not said.strip():
            raise TypeError(f"its class variable '{variable}' is no text")
    if not strategy.tasks or not BOTH_TASKS.issuperset(strategy.tasks):
        raise TypeError(f"its class variable 'tasks' has to hold one or more of: {', '.join(sorted(BOTH_TASKS))}")
    if not frozenset(Need).issuperset(strategy.needs):
        raise TypeError(f"its class variable 'needs' can hold nothing but: {', '.join(Need)}")


def strategies_for(task: str) -> dict[str, AcquisitionStrategy]:
    """Those for a kind of task, `strategy.SEGMENTATION` or `strategy.CLASSIFICATION`, in the order to show them."""
    return {name: strategy for name, strategy in all_strategies().items() if task in strategy.tasks}


def find_strategy(name: str) -> AcquisitionStrategy:
    """A strategy by its name.

    Raises:
        NotFound: There is no such strategy.
    """
    try:
        return all_strategies()[name]
    except KeyError:
        raise NotFound(f"there is no strategy '{name[:60]}'; there are: {', '.join(all_strategies())}") from None
