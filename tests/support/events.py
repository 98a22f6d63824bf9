"""The payloads in `events/`, which also feed `sam local invoke -e`."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "events"

OBJECT_CREATED = sorted(path.stem for path in FOLDER.glob("object-created-*.json"))
"""The names of all uploads as EventBridge delivers them."""


def load(name: str) -> dict[str, Any]:
    """The payload in `events/<name>.json`, read anew each time."""
    payload: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return payload
