"""Other libraries' errors in one line."""


def brief(error: BaseException, limit: int = 120) -> str:
    """Give an error's message without line ends, cut to `limit` characters, or its kind where it has none."""
    return " ".join(str(error).split())[:limit] or type(error).__name__
