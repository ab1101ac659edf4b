"""`ccn spend`: shows what calls to the model cost, by day, character, user or conversation.

It also shows what is left of today's budget.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from ccn import settings
from ccn.cli.output import printing
from ccn.cli.reach.options import DatabaseOptions, add_options
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


@add_options(DatabaseOptions)
def show_spend(
    reach: DatabaseOptions,
    *,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Show one day, by conversation.", show_default=False),
    ] = None,
    character: Annotated[
        str, typer.Option(help="Show the calls of this character only.", show_default=False)
    ] = "",
    user: Annotated[str, typer.Option(help="Show the calls for this user only.", show_default=False)] = "",
    by_user: Annotated[bool, typer.Option("--by-user", help="Show a line for each user.")] = False,
    conversation: Annotated[
        UUID | None,
        typer.Option(help="Show the calls of this conversation only, since it began.", show_default=False),
    ] = None,
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

    lines, left = reach.run(read_spend)
    _print_json(lines, left) if reach.as_json else _print_table(lines, left)


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
    overview_start = today - timedelta(days=DAYS - 1)
    first = day or (_EPOCH if wanted.conversation is not None else overview_start)
    return await usage.list_usage(pool, first, day or today, wanted)


async def _budget_left(pool: Pool, chosen: settings.Settings, wanted: UsageFilter, today: date) -> Day:
    """Load today's budget: that of the user or character if one is named, else that of the cluster."""
    scope, dollars = usage.CLUSTER, chosen.claude.daily_budget_dollars
    if wanted.owner is not None:
        scope, dollars = usage.scope_of_user(wanted.owner), chosen.limits.daily_dollars
    elif wanted.character is not None:
        scope, dollars = usage.scope_of_character(wanted.character), chosen.claude.character_budget_dollars
    return await usage.day_total(
        pool, today, scope, None if dollars is None else price.microdollars_from(dollars)
    )


def _budget_day(claude: settings.ClaudeSettings) -> date:
    """Return the day that budgets count now."""
    return budget.day_of(datetime.now(UTC), ZoneInfo(claude.time_zone))


def _print_table(lines: list[UsageEntry], budget: Day) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    with_users = any(entry.user for entry in lines)
    with_conversations = any(entry.conversation for entry in lines)
    headings = ["day", "character"]
    headings += ["user"] if with_users else []
    headings += ["conversation"] if with_conversations else []
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for heading in ("calls", "input", "cache read", "cache write", "output", "cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in lines:
        cells = [f"{entry.day}", printing.escape_markup(entry.character)]
        cells += [printing.escape_markup(entry.user or "nobody")] if with_users else []
        cells += [str(entry.conversation or "none")] if with_conversations else []
        table.add_row(*cells, *_total_to_cells(entry.total))
    console = Console(highlight=False, width=_WIDE)
    console.print(table if lines else "nothing was spent")
    console.print(f"\n{_describe_budget(budget)}")


def _total_to_cells(total: UsageTotal) -> list[str]:
    used = total.usage
    counts = (total.calls, used.input, used.cache_read, used.cache_write, used.output)
    return [*(f"{count:,}" for count in counts), _format_dollars(total.microdollars)]


def _describe_budget(budget: Day) -> str:
    held = f", {_format_dollars(budget.held)} held for calls under way or cut off" if budget.held else ""
    left = (
        "no limit is set here, and nodes follow their own settings"
        if budget.left is None
        else f"{_format_dollars(budget.left)} left"
    )
    return f"today {_format_dollars(budget.spent)} spent{held}; {left}"


def _print_json(lines: list[UsageEntry], budget: Day) -> None:
    for entry in lines:
        used = entry.total.usage
        printing.say_json(
            {
                "day": f"{entry.day}",
                "character": entry.character,
                "user": entry.user,
                "conversation": str(entry.conversation) if entry.conversation else None,
                "calls": entry.total.calls,
                "input": used.input,
                "output": used.output,
                "cache_read": used.cache_read,
                "cache_write": used.cache_write,
                "microdollars": entry.total.microdollars,
            }
        )
    today = {"limit": budget.limit, "spent": budget.spent, "held": budget.held, "left": budget.left}
    printing.say_json({"today": today})


def _format_dollars(microdollars: int) -> str:
    return f"${microdollars / 1_000_000:,.4f}"
