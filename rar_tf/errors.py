"""The one exception that a user's mistake raises, and other libraries' errors in one line."""


class UsageError(ValueError):
    """A setting, file or data set that cannot be used, said in one line; the scripts exit with status 2 on it."""

    exit_status = 2


def brief(error: BaseException, limit: int = 120) -> str:
    """Return an error's message without line ends, cut to `limit` characters, or its kind where it has none."""
    return " ".join(str(error).split())[:limit] or type(error).__name__
