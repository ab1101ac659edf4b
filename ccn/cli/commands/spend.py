"""`ccn spend`: what calls to the model cost, by day, character, user, conversation; what is left today."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from ccn import settings
from ccn.cli.output import printing
from ccn.cli.reach import ask, target
from ccn.cli.reach.target import Data, Json, Url
from ccn.core.calls import budget, price
from ccn.core.calls.budget import Day
from ccn.core.ids import CharacterId, ConversationId
from ccn.store.accounts import users
from ccn.store.connection.pool import Pool
from ccn.store.spending import spend as usage
from ccn.store.spending.spend import UsageEntry, UsageFilter, UsageTotal

DAYS = 30
"""How far back the overview looks."""
_WIDE = 200  # however narrow the terminal is: a cut id or figure is of no use
_EPOCH = date(2000, 1, 1)


def show_spend(
    *,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="One day, by conversation.", show_default=False),
    ] = None,
    character: Annotated[str, typer.Option(help="Of this character only.", show_default=False)] = "",
    user: Annotated[str, typer.Option(help="For this user only.", show_default=False)] = "",
    by_user: Annotated[bool, typer.Option("--by-user", help="A line for each user.")] = False,
    conversation: Annotated[
        UUID | None, typer.Option(help="Of this conversation only, since it began.", show_default=False)
    ] = None,
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show tokens and cost: of the last 30 days, of one day, or of one conversation."""
    chosen = settings.load()

    async def read_spend(pool: Pool) -> tuple[list[UsageEntry], Day]:
        wanted = await _choose_lines(
            pool, character, user, conversation, each=day is not None, by_user=by_user
        )
        today = _budget_day(chosen.claude)
        lines = await _load_lines(pool, today, day.date() if day is not None else None, wanted)
        return lines, await _budget_left(pool, chosen, wanted, today)

    lines, left = ask.run_on_database(read_spend, target.find_database(database_url, data, quiet=as_json))
    _print_json(lines, left) if as_json else _print_table(lines, left)


async def _choose_lines(
    pool: Pool, character: str, user: str, conversation: UUID | None, *, each: bool, by_user: bool
) -> UsageFilter:
    return UsageFilter(
        CharacterId(character) if character else None,
        None if conversation is None else ConversationId(conversation),
        (await users.load_user(pool, user)).id if user else None,
        by_conversation=each or conversation is not None,
        by_user=by_user or bool(user),
    )


async def _load_lines(pool: Pool, today: date, day: date | None, wanted: UsageFilter) -> list[UsageEntry]:
    overview = today - timedelta(days=DAYS - 1)
    first = day or (_EPOCH if wanted.conversation is not None else overview)
    return await usage.list_usage(pool, first, day or today, wanted)


async def _budget_left(pool: Pool, chosen: settings.Settings, wanted: UsageFilter, today: date) -> Day:
    """Today's budget: the user's or the character's if one is named, else that of all."""
    scope, dollars = usage.CLUSTER, chosen.claude.daily_budget_dollars
    if wanted.owner is not None:
        scope, dollars = usage.scope_of_user(wanted.owner), chosen.limits.daily_dollars
    elif wanted.character is not None:
        scope, dollars = usage.scope_of_character(wanted.character), chosen.claude.character_budget_dollars
    return await usage.day_total(
        pool, today, scope, None if dollars is None else price.microdollars_from(dollars)
    )


def _budget_day(claude: settings.ClaudeSettings) -> date:
    """As budgets count days."""
    return budget.day_of(datetime.now(UTC), ZoneInfo(claude.time_zone))


def _print_table(lines: list[UsageEntry], budget: Day) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    users, conversations = any(each.user for each in lines), any(each.conversation for each in lines)
    named = ("day", "character", *(["user"] * users), *(["conversation"] * conversations))
    for name in named:
        table.add_column(name, no_wrap=True)
    for name in ("calls", "input", "cache read", "cache write", "output", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in lines:
        user = [printing.escape_markup(each.user or "nobody")] * users
        here = [str(each.conversation or "none")] * conversations
        table.add_row(
            f"{each.day}",
            printing.escape_markup(each.character),
            *user,
            *here,
            *_total_to_cells(each.total),
        )
    console = Console(highlight=False, width=_WIDE)
    console.print(table if lines else "nothing was spent")
    console.print(f"\n{_describe_budget(budget)}")


def _total_to_cells(total: UsageTotal) -> list[str]:
    used = total.usage
    counts = (total.calls, used.input, used.cache_read, used.cache_write, used.output)
    return [*(f"{each:,}" for each in counts), _format_dollars(total.microdollars)]


def _describe_budget(budget: Day) -> str:
    held = f", {_format_dollars(budget.held)} held for calls under way or cut off" if budget.held else ""
    left = (
        "no limit is set here; nodes go by their own settings"
        if budget.left is None
        else f"{_format_dollars(budget.left)} left"
    )
    return f"today {_format_dollars(budget.spent)} spent{held}; {left}"


def _print_json(lines: list[UsageEntry], budget: Day) -> None:
    for each in lines:
        used = each.total.usage
        told = {
            "day": f"{each.day}",
            "character": each.character,
            "user": each.user,
            "conversation": str(each.conversation) if each.conversation else None,
            "calls": each.total.calls,
            "input": used.input,
            "output": used.output,
            "cache_read": used.cache_read,
            "cache_write": used.cache_write,
            "microdollars": each.total.microdollars,
        }
        printing.say(json.dumps(told))
    today = {"limit": budget.limit, "spent": budget.spent, "held": budget.held, "left": budget.left}
    printing.say(json.dumps({"today": today}))


def _format_dollars(microdollars: int) -> str:
    return f"${microdollars / 1_000_000:,.4f}"
