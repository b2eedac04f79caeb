"""A run of the model: steps drawn from a seed, and what is checked after them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from chatsvc.storage.persister import batches
from tests.fault.kit.model import World
from tests.fault.kit.model_checks import check
from tests.fault.kit.model_data import HOUR_MS, Options
from tests.fault.kit.model_steps import STEPS


async def run(
    folder: Path, seed: int, steps: int, set_clock: Callable[[Callable[[], int]], None]
) -> int:
    """One run; how many answers were compared.

    Args:
        set_clock: makes the product's wall clock ask the model.

    Raises:
        AssertionError: with the steps that led there.
    """
    dice = random.Random(seed)
    options = Options(
        retention_ms=dice.choice([0, HOUR_MS]),
        recent_bytes=dice.choice([0, 3_000, 20_000, 1 << 20]),
        batch=dice.choice([1, 3, 8, 500]),
        look=dice.random() < 0.3,
    )
    world = World(folder, dice, options)
    set_clock(lambda: world.clock_ms)
    with mock.patch.object(batches, "BEHIND_BATCH", options.batch):
        await _walk(world, dice, steps, f"seed {seed}, {options}")
    return world.checks


async def _walk(world: World, dice: random.Random, steps: int, title: str) -> None:
    await world.begin()
    choices = [step for weight, step in STEPS for _ in range(weight)]
    try:
        for _ in range(steps):
            step = dice.choice(choices)
            world.note(step.__name__)
            await step(world)
            if dice.random() < 0.5:
                await check(world)
        world.note("drain")
        await world.drain()
        await check(world, settled=True)
    except BaseException as exc:
        exc.add_note(f"{title}: {' '.join(world.trace)}")
        exc.add_note(world.describe())
        raise
    finally:
        await world.end()
