"""The DynamoDB table that holds the ledger, the governor and the locks on output keys.

Plain Python values in and out (whole numbers as `int` or `Decimal`, never `float`).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from cutout.domain.errors import ConditionFailed, ServiceError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize

Item = dict[str, Any]
_MOST_IN_A_BATCH = 100  # DynamoDB's limit for BatchGetItem


class Table:
    """Items by their key `task_id`. Raises `ServiceError` when DynamoDB does not serve a call."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def get(self, key: str) -> Item | None:
        """Read an item, strongly consistent."""
        with self._errors(key):
            answer = self._client.get_item(TableName=self._name, Key=_key(key), ConsistentRead=True)
        return plain(answer["Item"]) if "Item" in answer else None

    def existing(self, keys: Iterable[str]) -> set[str]:
        """Which of these items are there; strongly consistent."""
        found = self._batches(keys, {"ProjectionExpression": "task_id"})
        return {item["task_id"] for item in found}

    def get_many(self, keys: Iterable[str]) -> list[Item]:
        """Those of these items that are there, in no order; strongly consistent."""
        return list(self._batches(keys, {}))

    def _batches(self, keys: Iterable[str], how: Item) -> Iterator[Item]:
        left = [_key(key) for key in dict.fromkeys(keys)]
        while left:
            batch, left = left[:_MOST_IN_A_BATCH], left[_MOST_IN_A_BATCH:]
            asked: Any = {"Keys": batch, "ConsistentRead": True, **how}
            with self._errors(f"{len(batch)} items"):
                answer: Any = self._client.batch_get_item(RequestItems={self._name: asked})
            yield from map(plain, answer["Responses"].get(self._name, []))
            left += answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])

    def query(self, index: str, name: str, value: str) -> list[Item]:
        """The first page (up to 1 MB) of an index's items with one key, last range key first."""
        with self._errors(value):
            answer = self._client.query(
                TableName=self._name,
                IndexName=index,
                KeyConditionExpression="#name = :value",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":value": {"S": value}},
                ScanIndexForward=False,
            )
        return [plain(item) for item in answer["Items"]]

    def query_until(
        self, index: str, key: tuple[str, str], until: tuple[str, str]
    ) -> Iterator[Item]:
        """All items of an index with one key whose range key is at most a value, in its order.

        Pages are read as they are needed.
        """
        asked: dict[str, Any] = {
            "TableName": self._name,
            "IndexName": index,
            "KeyConditionExpression": "#key = :key AND #range <= :until",
            "ExpressionAttributeNames": {"#key": key[0], "#range": until[0]},
            "ExpressionAttributeValues": {":key": {"S": key[1]}, ":until": {"S": until[1]}},
        }
        while True:
            with self._errors(key[1]):
                page = self._client.query(**asked)
            yield from map(plain, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def count(self, index: str, name: str, value: str, most_pages: int) -> int:
        """How many items of an index have a key, as far as so many pages (of 1 MB) tell."""
        asked: dict[str, Any] = {
            "TableName": self._name,
            "IndexName": index,
            "KeyConditionExpression": "#name = :value",
            "ExpressionAttributeNames": {"#name": name},
            "ExpressionAttributeValues": {":value": {"S": value}},
            "Select": "COUNT",
        }
        found = 0
        for _ in range(most_pages):
            with self._errors(value):
                page = self._client.query(**asked)
            found += page["Count"]
            if "LastEvaluatedKey" not in page:
                break
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return found

    def put_new(self, item: Item) -> None:
        """Write an item that is not there yet. Raises `ConditionFailed` if it is."""
        with self._errors(item["task_id"]):
            self._client.put_item(**self._put(item))

    def put_both_new(self, one: Item, other: Item) -> None:
        """Write two items, or none. Raises `ConditionFailed` if one of them is there already."""
        with self._errors(one["task_id"]):
            puts: Any = [{"Put": self._put(item)} for item in (one, other)]
            self._client.transact_write_items(TransactItems=puts)

    def _put(self, item: Item) -> Any:
        return {
            "TableName": self._name,
            "Item": {name: _serialize(value) for name, value in item.items()},
            "ConditionExpression": "attribute_not_exists(task_id)",
        }

    def update(
        self,
        key: str,
        expression: str,
        *,
        values: Mapping[str, Any],
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Item:
        """Change an item, or make it, and return it. Raises `ConditionFailed`."""
        more: Any = {"ExpressionAttributeNames": names} if names else {}
        if condition:
            more["ConditionExpression"] = condition
        with self._errors(key):
            answer = self._client.update_item(
                TableName=self._name,
                Key=_key(key),
                UpdateExpression=expression,
                ExpressionAttributeValues={name: _serialize(v) for name, v in values.items()},
                ReturnValues="ALL_NEW",
                **more,
            )
        return plain(answer["Attributes"])

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and "ConditionalCheckFailed" in _conditions(error):
                raise ConditionFailed(f"the condition of a write to {key} failed") from error
            raise ServiceError(f"DynamoDB failed on {key}") from error


def _conditions(error: ClientError) -> set[str]:
    """Why a write was refused, or each write of a transaction."""
    reasons: Any = error.response.get("CancellationReasons", [])
    code = error.response["Error"]["Code"].removesuffix("Exception")
    return {code, *(reason["Code"] for reason in reasons)}


def _key(key: str) -> dict[str, Any]:
    return {"task_id": {"S": key}}


def plain(item: Mapping[str, Any]) -> Item:
    """An item as DynamoDB has it, in Python's values."""
    return {name: _deserialize(value) for name, value in item.items()}
