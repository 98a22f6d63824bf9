"""Convert an upload that the vendor does not take: HEIC and AVIF, as phones make them.

It runs in a function of its own, for decoding takes much memory, and what decodes is fed by
strangers: nothing here can reach the API key, the ledger or the outputs.
"""

from dataclasses import dataclass
from io import BytesIO

from pi_heif import register_heif_opener
from PIL import Image, ImageOps

from cutout.aws.converted import ConvertedImages
from cutout.aws.s3 import Storage
from cutout.domain.errors import CutoutError, NotNow, Rejected, UnsupportedFormat
from cutout.domain.images import ImageHeader, check_pixels
from cutout.domain.messages import ConvertAnswer, ConvertRequest
from cutout.domain.uploads import ConvertedImage
from cutout.observability import logger

FORMATS = ("HEIF", "AVIF")  # Pillow's names
_QUALITY = 95

register_heif_opener()
Image.MAX_IMAGE_PIXELS = None  # `check_pixels` has the stack's own limit; Pillow's would warn below


@dataclass(frozen=True)
class Converter:
    """Everything that converting needs."""

    uploads: Storage
    converted: ConvertedImages
    max_megapixels: int

    def convert(self, request: ConvertRequest) -> ConvertAnswer:
        """The converted copy of an upload, or why there is none. Raises `ServiceError`."""
        logger.append_keys(task_id=request.task_id)
        try:
            return ConvertAnswer(image=self._copy(request))
        except (Rejected, NotNow) as error:
            return ConvertAnswer(error=type(error).__name__, reason=str(error))

    def _copy(self, request: ConvertRequest) -> ConvertedImage:
        if found := self.converted.find(request.task_id):
            return found  # an earlier try made it
        image, media_type = upright(self.uploads.read(request.upload), self.max_megapixels)
        logger.info("the upload was converted", media_type=media_type, bytes=len(image))
        return self.converted.save(request.task_id, image, media_type)


def upright(data: bytes, max_megapixels: int) -> tuple[bytes, str]:
    """The first frame with its orientation applied and its colour profile kept, and its media type.

    JPEG, or PNG where there is transparency. Raises `TooManyPixels` or `TooFewPixels` before a
    pixel is decoded, and `UnsupportedFormat`.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            check_pixels(ImageHeader(str(image.format), *image.size), max_megapixels)
            return _encoded(ImageOps.exif_transpose(image), image.info.get("icc_profile"))
    except CutoutError:
        raise
    except Exception as error:  # decoders raise what a broken file makes them stumble over
        raise UnsupportedFormat(
            "the object starts like a HEIC or AVIF file and cannot be decoded; upload it again"
        ) from error


def _encoded(image: Image.Image, profile: bytes | None) -> tuple[bytes, str]:
    file = BytesIO()
    if image.has_transparency_data:
        image.convert("RGBA").save(file, "PNG", compress_level=1, icc_profile=profile)
        return file.getvalue(), "image/png"
    image.convert("RGB").save(file, "JPEG", quality=_QUALITY, subsampling=0, icc_profile=profile)
    return file.getvalue(), "image/jpeg"
