"""What the server must still know after a restart: the tasks it was paid for."""

from pathlib import Path

from pydantic import TypeAdapter

from cutout_local.wavespeed.tasks import Task

_TASK = TypeAdapter(Task)


class Books:
    """A folder with a file for each task, written so that a kill at any moment leaves it whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, task: Task) -> None:
        """Keep a task as it is now."""
        file = self._file(task)
        new = file.with_suffix(".new")
        new.write_bytes(_TASK.dump_json(task, exclude={"ended"}))
        new.replace(file)

    def drop(self, task: Task) -> None:
        self._file(task).unlink(missing_ok=True)

    def read(self) -> list[Task]:
        """Every task that was kept, oldest first."""
        files = self._folder.glob("*.task")
        tasks = [_TASK.validate_json(file.read_bytes()) for file in files]
        return sorted(tasks, key=lambda task: task.created_at)

    def _file(self, task: Task) -> Path:
        return self._folder / f"{task.id}.task"
