"""Figures of repeated runs, and tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One quantity of one contender over all runs, in ``unit``."""

    scenario: str
    contender: str
    what: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    def shown(self) -> str:
        """Return the median, with minimum and maximum if there was more than one run."""
        text = short(self.median)
        if len(self.values) > 1:
            text += f" ({short(min(self.values))}–{short(max(self.values))})"
        return text


def short(value: float) -> str:
    """Return a number with three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def micros_per(seconds: float, units: int) -> float:
    """Return the microseconds per unit."""
    return seconds / units * 1e6


class Figures:
    """Collects values of all runs, in the order in which quantities were first seen."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str, str], list[float]] = {}

    def add(self, scenario: str, contender: str, what: str, unit: str, value: float) -> None:
        """Add a value."""
        self._values.setdefault((scenario, contender, what, unit), []).append(value)

    def all(self) -> list[Figure]:
        """Return the figures."""
        return [Figure(*key, tuple(values)) for key, values in self._values.items()]


def tables(figures: Iterable[Figure]) -> str:
    """Return Markdown: a table per scenario, a row per contender, a column per figure."""
    scenarios: dict[str, list[Figure]] = {}
    for figure in figures:
        scenarios.setdefault(figure.scenario, []).append(figure)
    return "\n\n".join(_table(name, rows) for name, rows in scenarios.items())


def _table(scenario: str, figures: Sequence[Figure]) -> str:
    columns = list(dict.fromkeys((figure.what, figure.unit) for figure in figures))
    names = list(dict.fromkeys(figure.contender for figure in figures))
    cells = {(figure.contender, figure.what): figure.shown() for figure in figures}
    head = ["", *[f"{what}, {unit}" for what, unit in columns]]
    lines = [f"**{scenario}**", "", _row(head), _row(["---", *["---:"] * len(columns)])]
    rows = [_row([name, *[cells.get((name, what), "") for what, _ in columns]]) for name in names]
    return "\n".join([*lines, *rows])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
