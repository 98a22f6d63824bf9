"""What to do about each code that the ledger can hold."""

RETRY = "cutout retry {key}{options}"
ANEW = "another try is paid: " + RETRY + " --pay-again"
FETCH = "it is fetched again for nothing: " + RETRY + "; if that changes nothing, " + ANEW
RELOAD = "upload the image again"

ADVICE = {
    "unsupported_format": "upload the image in one of the formats that the reason names",
    "upload_too_large": "upload a smaller file, or raise MaxUploadMegabytes, then: " + RETRY,
    "too_few_pixels": "upload a larger image",
    "too_many_pixels": "upload a smaller image, or raise MaxMegapixels, then: " + RETRY,
    "key_too_long": "upload it under a shorter key, or shorten OutputPrefix, then: " + RETRY,
    "bad_override": "upload it with metadata that AllowedModels and the options allow",
    "conversion_failed": "upload it as JPEG, or raise ConvertMemoryMegabytes, then: " + RETRY,
    "conversion_interrupted": "nothing: it is tried again for ten minutes; the convert function's "
    "log says what happened",
    "source_gone": RELOAD + "; it was deleted or replaced before it was sent",
    "waits_for_turn": "nothing: others were there before; ImagesPerMinute is the plan's rate. If "
    "sending is paused: cutout resume{options}",
    "waits_for_slot": "nothing: it is sent when its turn comes; ImagesPerMinute is the plan's rate",
    "rate_limited": "nothing: it is sent again; ImagesPerMinute may be more than the plan allows",
    "insufficient_credits": "top up the WaveSpeedAI account; it is then sent by itself",
    "unauthorized": "put a valid API key into the secret; it is then sent by itself",
    "api_key_unavailable": "see that the secret is there and that the role may read it; it is then "
    "sent by itself",
    "upload_forbidden": "let the stack read it (bucket policy, KMS key, storage class); it is then "
    "sent by itself",
    "over_budget": "nothing: it is sent tomorrow, or once there is more: cutout limit "
    "--daily-budget USD{options}",
    "vendor_redirects": "set WaveSpeedBaseUrl to the new address; it is then sent by itself",
    "vendor_unreachable": "nothing: it is sent again until the vendor can be reached",
    "answer_lost": "look at your WaveSpeedAI history; to send it anew all the same: "
    + RETRY
    + " --pay-again",
    "prediction_taken": "look at your WaveSpeedAI history, and tell the vendor, who named another "
    "task's prediction; to send it anew all the same: " + RETRY + " --pay-again",
    "service_error": "see the reason, and cutout logs {key}{options}; while it is queued, it is "
    "tried again, ever later; once it has failed: " + RETRY,
    "internal_error": "it is tried again, ever later; see cutout logs {key}{options} and report it",
    "request_refused": "mend what the reason says, then: " + RETRY,
    "prediction_failed": "look at the image; another try is paid: " + RETRY,
    "prediction_not_found": "another try is paid: " + RETRY,
    "prediction_missing": "another try is paid: " + RETRY,
    "output_gone": "the vendor keeps outputs for seven days; " + FETCH,
    "output_blocked": "the vendor gave a URL that this stack must not fetch; ask the vendor; "
    + FETCH,
    "bad_output": "if it is too large, raise MaxOutputMegabytes or MaxMegapixels; " + FETCH,
    "empty_cutout": "look at the image: the model found no subject in it; " + ANEW,
    "opaque_cutout": "look at the image: the model left all of it; " + ANEW + "; such results are "
    "kept with OpaqueCutout=save, and then fetched for nothing: " + RETRY,
    "timed_out": "a result that has come since is fetched for nothing: " + RETRY,
    "superseded": "nothing: a newer revision of the object has its PNG",
    "execution_ended": "a result that the vendor has is fetched for nothing: " + RETRY,
}


def advice(code: str | None, key: str, options: str) -> str | None:
    """What to do about a task with a code; `options` lead a command to its stack."""
    text = ADVICE.get(code or "")
    if text is None and code:  # the states' own errors, such as lambda.unknown
        text = ADVICE["execution_ended"]
    return text and text.format(key=key, options=options)
