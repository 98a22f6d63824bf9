"""S3: the converted copies of uploads, from which the vendor reads."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from cutout.aws.errors import is_gone, served
from cutout.domain.uploads import ConvertedImage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ConvertedImages:
    """One object a task, in a bucket that forgets them after a day.

    Raises `ServiceError` when S3 does not serve a call.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def find(self, task_id: str) -> ConvertedImage | None:
        """The copy that an earlier try has made."""
        with served("S3 tells nothing of the converted copy"):
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=_key(task_id))
            except ClientError as error:
                if is_gone(error):
                    return None
                raise
        return self._image(task_id, head["ContentLength"], head["ContentType"], head["ETag"])

    def save(self, task_id: str, body: bytes, media_type: str) -> ConvertedImage:
        """Keep a copy until it is deleted."""
        with served("S3 failed to save the converted copy"):
            answer = self._client.put_object(
                Bucket=self._bucket, Key=_key(task_id), Body=body, ContentType=media_type
            )
        return self._image(task_id, len(body), media_type, answer["ETag"])

    def delete(self, task_id: str) -> None:
        """Forget a copy; one that is not there is no error."""
        with served("S3 failed to delete the converted copy"):
            self._client.delete_object(Bucket=self._bucket, Key=_key(task_id))

    def _image(self, task_id: str, size: int, media_type: str, etag: str) -> ConvertedImage:
        return ConvertedImage(
            bucket=self._bucket,
            key=_key(task_id),
            etag=etag.strip('"'),
            size=size,
            media_type=media_type,
        )


def _key(task_id: str) -> str:
    return f"converted/{task_id}"
