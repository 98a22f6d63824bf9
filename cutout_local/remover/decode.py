"""Image files to upright RGB pixels, and cutouts to PNG."""

from io import BytesIO

import numpy as np
from pi_heif import register_heif_opener
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps

from cutout_local.remover.errors import ImageTooLarge, UnreadableImage
from cutout_local.remover.result import Floats, Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF")
COMPRESSION = 4  # zlib level

register_heif_opener()
Pillow.MAX_IMAGE_PIXELS = None  # `decode` has a limit of its own, and Pillow would warn below it


def decode(data: bytes, max_pixels: int) -> Image:
    """Return the first frame as (H, W, 3) uint8 sRGB, upright, over white where transparent.

    Raises `ImageTooLarge` before any pixel is decoded, `UnreadableImage` for everything that
    is not a whole image in one of `FORMATS`.
    """
    try:
        with Pillow.open(BytesIO(data), formats=FORMATS) as image:
            _check_size(image, max_pixels)
            flat = _flatten(ImageOps.exif_transpose(image))
            return np.array(_to_srgb(flat, image.info.get("icc_profile")))
    except ImageTooLarge:
        raise
    # Pillow's readers raise what a broken file makes them stumble over: OSError, SyntaxError,
    # ValueError, struct.error, zlib.error, IndexError and more, named nowhere.
    except Exception as error:
        raise UnreadableImage(f"the data are not a whole image ({', '.join(FORMATS)})") from error


def encode_png(rgba: Image) -> bytes:
    """Encode (H, W, 4) uint8 pixels."""
    buffer = BytesIO()
    Pillow.fromarray(rgba).save(buffer, "PNG", compress_level=COMPRESSION)
    return buffer.getvalue()


def _check_size(image: Pillow.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        size = f"{image.width} x {image.height}"
        raise ImageTooLarge(f"the image has {size} pixels, more than {max_pixels:,}")


def _flatten(image: Pillow.Image) -> Pillow.Image:
    """Return an RGB or CMYK image without transparency."""
    if image.mode.startswith(("I", "F")):
        image = Pillow.fromarray(_to_8_bits(np.asarray(image, np.float64), image.mode))
    if image.has_transparency_data:
        white = Pillow.new("RGBA", image.size, "white")
        image = Pillow.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == "CMYK" else image.convert("RGB")


def _to_8_bits(grey: Floats, mode: str) -> Image:
    """Scale 16-bit grey by its range; 32-bit and float grey has none, so by its values."""
    finite = np.nan_to_num(grey)
    low, high = (0, 65535) if mode.startswith("I;16") else (finite.min(), finite.max())
    return np.asarray((finite - low) * (255 / max(high - low, 1e-9)), np.uint8)


def _to_srgb(image: Pillow.Image, embedded: bytes | None) -> Pillow.Image:
    """Convert by the embedded profile, since the PNG carries none; a broken one is ignored."""
    if embedded:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(embedded))
            return _convert(image, profile)
        except (OSError, ImageCms.PyCMSError):
            pass
    return image.convert("RGB")


def _convert(image: Pillow.Image, profile: ImageCms.ImageCmsProfile) -> Pillow.Image:
    srgb = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(profile, srgb, image.mode, "RGB")
    return transform.apply(image)
