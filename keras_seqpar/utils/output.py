"""Text on streams that cannot show every character: fallback characters instead of an error.

Windows consoles and redirected output are often in cp1252 or ASCII, which have neither the lines
of a tree nor the letters of most labels. Standard library only.
"""

import codecs
import sys

FALLBACK = "keras_seqpar.fallback"  # name of the error handler
_SIMILAR = {
    **{"├": "|", "│": "|", "└": "`", "─": "-", "━": "-", "–": "-", "—": "-", "…": "..."},
    **{"×": "x", "±": "+-", "≥": ">=", "≤": "<=", "→": "->", "‘": "'", "’": "'", "“": '"'},
    **{"”": '"', "•": "*"},
}


def show_all_characters() -> None:
    r"""Lets standard output and error show fallback characters for those that they cannot encode.

    Lines of trees become `|--`, other characters escapes such as `\xe9`. Streams for which the
    user chose another way (`PYTHONIOENCODING=ascii:replace`) stay.
    """
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            if reconfigure := getattr(stream, "reconfigure", None):
                reconfigure(errors=FALLBACK)


def printable(text: str) -> str:
    """A text as standard output can show it.

    Args:
        text: any text.

    Returns:
        The same text; if standard output cannot encode it, with fallback characters.
    """
    encoding = getattr(sys.stdout, "encoding", None)
    if not isinstance(encoding, str):
        return text
    try:
        return text.encode(encoding, FALLBACK).decode(encoding)
    except (LookupError, UnicodeError):  # an encoding that Python does not know, or of bytes
        return text


def _fall_back(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    odd = error.object[error.start : error.end]
    shown = (_SIMILAR.get(c) or c.encode("ascii", "backslashreplace").decode() for c in odd)
    return "".join(shown), error.end


codecs.register_error(FALLBACK, _fall_back)
