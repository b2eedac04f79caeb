"""Asking for user ids."""

from __future__ import annotations

from collections.abc import Collection

from demo_cli.arguments import names_with_spaces, split_users
from demo_cli.prompting import Lines
from demo_cli.rendering import visible


async def ask_users(lines: Lines, prompt: str, known: Collection[str] = ()) -> list[str]:
    """Ask for user ids joined by commas; one with a space in it is asked about.

    A user id may hold spaces, so ``alice bob`` can be one, but it is more often two.

    Args:
        lines: where the answer comes from.
        prompt: the question.
        known: ids that are not asked about.

    Returns:
        The ids, each once, in their order; empty if nothing was typed.

    Raises:
        EOFError: there are no more lines.
    """
    users = split_users(await lines.ask(prompt))
    doubtful = names_with_spaces(users, known)
    if not doubtful:
        return users
    several = split_users(
        ",".join(",".join(user.split()) if user in doubtful else user for user in users)
    )
    meant = visible(", ".join(several))
    answer = await lines.ask(f"User IDs are joined by commas. Do you mean {meant}? [Y/n]: ")
    return users if answer.strip().lower().startswith("n") else several
