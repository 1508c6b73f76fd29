"""Times as people read them."""


def clock(seconds: float | None) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on; parts of a second do not count."""
    whole = int(seconds or 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
