"""Warnings name the user's line, not one of the package."""

import warnings

from keras_seqpar.utils.warning import warn_user


def inside(depth):
    """Warns from functions that pretend to be the package's."""
    code = "def call(depth):\n    call(depth - 1) if depth else warn_user('told')\n"
    space = {"__name__": "keras_seqpar.room", "warn_user": warn_user}
    exec(code, space)
    space["call"](depth)


def test_the_line_is_the_callers():
    for depth in (0, 3):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            inside(depth)
        (warning,) = caught
        assert warning.category is UserWarning and str(warning.message) == "told"
        assert warning.filename == __file__
