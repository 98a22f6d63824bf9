"""How one upload is to be processed: the stack's defaults, and what the object itself asks for."""

from collections.abc import Collection, Mapping

from pydantic import BaseModel

from cutout.domain.errors import BadOverride

# S3 user metadata, without S3's own prefix: `x-amz-meta-cutout-model` and so on.
MODEL, SYNC, BASE64 = "cutout-model", "cutout-sync", "cutout-base64"
_SWITCH = {"true": True, "false": False}


class Options(BaseModel):
    """The model, in which way its result comes, and as what the upload is served to it.

    `convert` says that it is to be converted first.
    """

    model: str
    sync: bool = False
    base64_output: bool = False
    media_type: str = "binary/octet-stream"
    convert: bool = False


def overridden(
    defaults: Options, metadata: Mapping[str, str], allowed_models: Collection[str]
) -> Options:
    """The defaults with an object's overrides. Raises `BadOverride` for one that is not allowed."""
    model = metadata.get(MODEL, defaults.model)
    if model != defaults.model and model not in allowed_models:
        allowed = ", ".join(sorted({defaults.model, *allowed_models}))
        raise BadOverride(f"the object asks for the model {model!r}; the stack allows {allowed}")
    return Options(
        model=model,
        sync=_switch(metadata, SYNC, defaults.sync),
        base64_output=_switch(metadata, BASE64, defaults.base64_output),
        media_type=defaults.media_type,
        convert=defaults.convert,
    )


def _switch(metadata: Mapping[str, str], name: str, default: bool) -> bool:
    value = metadata.get(name)
    if value is None:
        return default
    if value.lower() not in _SWITCH:
        raise BadOverride(f"the object's {name} is {value!r}; it can be true or false")
    return _SWITCH[value.lower()]
