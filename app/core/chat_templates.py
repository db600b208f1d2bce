"""Chat templates that come with a job: what is refused before a worker has rendered anything."""

LARGEST_BYTES = 64 << 10


def problem(text: str | None) -> str | None:
    """Why a template cannot be taken; None when it can. Whether it renders is found at validation."""
    if text is None:
        return None
    if not text.strip():
        return "it is blank: leave it out for the model's own chat template."
    if (size := len(text.encode(errors="surrogatepass"))) > LARGEST_BYTES:
        return f"it has {size} bytes, and may have at most {LARGEST_BYTES}."
    return None
