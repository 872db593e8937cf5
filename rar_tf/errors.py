"""The one exception that a user's mistake raises."""


class UsageError(ValueError):
    """A setting, file or data set that cannot be used, said in one line; the scripts exit with status 2 on it."""
