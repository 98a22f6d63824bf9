"""The rate, the budget and the pause that hold for a stack: the governor's, or its parameters'."""

import json
from dataclasses import asdict
from decimal import Decimal

from cutout.store.governor import Governor, Plan
from cutout.store.table import Table
from cutout_cli.stacks import Stack


def governor(stack: Stack) -> Governor:
    """What decides when the next image is sent."""
    return Governor(
        Table(stack.client("dynamodb"), stack.tasks_table),
        int(stack.parameters["ImagesPerMinute"]),
        Decimal(stack.parameters["DailyBudget"]),
    )


def told(plan: Plan, *, as_json: bool) -> str:
    """What holds now, in a line."""
    if as_json:
        return json.dumps(asdict(plan), default=str)
    state = "sending is paused" if plan.paused else "images are sent"
    rate = f"{plan.images_per_minute} a minute" if plan.images_per_minute else "at any rate"
    budget = f"for ${plan.daily_budget} a day" if plan.daily_budget else "for any sum"
    return f"{state}, {rate}, {budget}"
