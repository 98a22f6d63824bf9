"""The JSON Schemas of the events that Cutout publishes, made from their models.

make schemas
"""

import json
from typing import get_args

from cutout.domain.messages import BusEvent
from tests.support import events

FOLDER = events.FOLDER / "schemas"
EVENTS = {event.detail_type.lower().replace(" ", "-"): event for event in get_args(BusEvent)}
"""The models by the names of their files in `events/` and `events/schemas/`."""


def schema(name: str) -> str:
    """The schema of an event's detail as its file has it."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    described = EVENTS[name].model_json_schema(mode="serialization")
    return json.dumps(dialect | described, indent=2) + "\n"


if __name__ == "__main__":
    for name in EVENTS:
        (FOLDER / f"{name}.json").write_text(schema(name), encoding="utf-8")
