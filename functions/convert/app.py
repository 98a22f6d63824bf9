"""Lambda: convert an upload that the vendor does not take, for the submit function."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from cutout.aws.clients import client, during_init
from cutout.aws.converted import ConvertedImages
from cutout.aws.s3 import Storage
from cutout.convert import Converter
from cutout.domain.messages import ConvertRequest
from cutout.observability import logger
from cutout.settings import ConvertSettings


@cache
def converter() -> Converter:
    env = ConvertSettings.from_environment()
    s3 = client("s3")
    return Converter(Storage(s3), ConvertedImages(s3, env.converted_bucket), env.max_megapixels)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return converter().convert(ConvertRequest.model_validate(event)).model_dump()


during_init(converter)
