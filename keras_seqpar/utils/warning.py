"""Warnings that name the line of the user's own code that led to them."""

import inspect
import warnings


def warn_user(message: str) -> None:
    """Warns, and names the first line outside of this package, however deep the call is.

    Args:
        message: what the user should know.

    Example:

    >>> warn_user("Calibration on 3 image(s): take 50 or more.")
    """
    package = __name__.partition(".")[0]
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level if frame else 2)
