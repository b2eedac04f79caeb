"""Figures of repeated runs, and the tables they make."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One quantity of one contender, over its runs; ``unit`` says what it is."""

    scenario: str
    contender: str
    what: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the runs."""
        return statistics.median(self.values)

    def shown(self) -> str:
        """The median, and the least and the most where there was more than one run."""
        text = short(self.median)
        if len(self.values) > 1:
            text += f" ({short(min(self.values))}–{short(max(self.values))})"
        return text


def short(value: float) -> str:
    """Three figures that count, and no more digits behind the point than help."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def micros_per(seconds: float, units: int) -> float:
    """Microseconds each."""
    return seconds / units * 1e6


class Figures:
    """Collects values, run by run, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str, str], list[float]] = {}

    def add(self, scenario: str, contender: str, what: str, unit: str, value: float) -> None:
        """One more value."""
        self._values.setdefault((scenario, contender, what, unit), []).append(value)

    def all(self) -> list[Figure]:
        """What came together."""
        return [Figure(*key, tuple(values)) for key, values in self._values.items()]


def tables(figures: Iterable[Figure]) -> str:
    """Markdown: a table for each scenario, a row for each contender, a column for each figure."""
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
