"""Names: labels in one form, ids made from them, and the error message for an unknown name."""

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

MOST_CHARACTERS = 1000  # of a label
MOST_ID = 150  # characters of an id; names of files and folders may have 255 bytes
_DIGEST = 12  # hexadecimal digits that stand for what a long id leaves out

# Invisible characters that no word or emoji needs: soft hyphen, zero-width space, byte order mark,
# marks and controls of the writing direction. Two labels would look alike, or show reordered.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_LATIN = re.compile(r"LATIN SMALL (?:LETTER|LIGATURE) ([A-Z]{1,2})(?: WITH .*)?")
_ENDINGS = {"+": "_plus", "#": "_sharp"}  # as in C++, C#, A+


def same_form(label: str) -> str:
    """The form in which labels are compared: Unicode NFC, without spaces around it.

    File systems and keyboards write one accented letter either as one character or as a letter
    and a combining accent; both look the same.

    Args:
        label: free text.

    Returns:
        The text in this form.

    Example:

    >>> same_form(" French horn ")
    'French horn'
    """
    return unicodedata.normalize("NFC", label).strip()


def check_label(label: str) -> str:
    """Checks that a text can be a label, and brings it into the form in which labels are compared.

    Args:
        label: any text of 1 to 1,000 characters that can be shown in one line: letters of any
            script, digits, punctuation, symbols, emoji. Spaces around it are left out.

    Returns:
        The label, as `same_form` writes it.

    Raises:
        TypeError: `label` is no string.
        ValueError: it is empty or too long, or has a line break, another control character, an
            invisible character that no word needs, or bytes that are no text.

    Example:

    >>> check_label(" French horn")
    'French horn'
    """
    if not isinstance(label, str):
        raise TypeError(f"A label must be a string, got {label!r} of type {type(label).__name__}.")
    if len(clean := same_form(label)) > MOST_CHARACTERS:
        raise ValueError(
            f"The label {label[:60]!r}... has {len(clean)} characters. At most {MOST_CHARACTERS} "
            "are allowed: shorten it."
        )
    for character in label:
        kind = unicodedata.category(character)
        if kind in ("Cc", "Zl", "Zp"):
            raise ValueError(
                f"The label {label!r} has the control character {character!r}. A label is one line "
                "of text without tabs and line breaks: take that character out."
            )
        if kind == "Cs":
            raise ValueError(
                f"The label {label!r} is no valid text: the name of its file or folder is not in "
                "UTF-8, or half of a surrogate pair is missing. Rename it."
            )
        if _INVISIBLE.match(character):
            name = unicodedata.name(character, "no name")
            raise ValueError(
                f"The label {label!r} has the invisible character U+{ord(character):04X} ({name}), "
                "so that it looks like another label. Take that character out."
            )
    if not clean:
        raise ValueError(f"The label {label!r} is empty. Give every category a name.")
    return clean


def make_id(label: str) -> str:
    """Turns a label into a node id of the form `[a-z][a-z0-9_]*`.

    Latin letters lose their accents and become lower case, and a leading digit is preceded by `c`
    ("3" becomes `c3`). `+` and `#` at the end of a word become `plus` and `sharp`; other ASCII
    punctuation and spaces become single underscores. Every other letter, symbol or emoji becomes
    `u` and its code point, as does punctuation that is a label of its own. Ids of more than 150
    characters are cut, and end with a hash of the label.

    The id depends on the label alone. Different labels can have the same id ("Polish", "polish");
    `distinct_ids` tells them apart where they meet in one tree.

    Args:
        label: any label that `check_label` takes.

    Returns:
        The id.

    Raises:
        TypeError: `label` is no string.
        ValueError: it can be no label (see `check_label`).

    Example:

    >>> make_id("French horn"), make_id("3"), make_id("C++"), make_id("猫 1")
    ('french_horn', 'c3', 'c_plus_plus', 'u732b_1')
    """
    label = check_label(label)
    text = "".join(_ascii(label)).lower()
    text = re.sub(
        r"(?<=[a-z0-9])[+#]+(?![a-z0-9+#])",
        lambda found: "".join(_ENDINGS[symbol] for symbol in found[0]),
        text,
    )
    words = re.sub(r"[^a-z0-9]+", "_", text).strip("_") or "_".join(map(_code_point, label))
    id_ = words if words[0].isalpha() else "c" + words
    return id_ if len(id_) <= MOST_ID else _with_digest(id_, label, _DIGEST)


def distinct_ids(labels: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Makes the ids of labels that belong to one tree: as `make_id`, but different ones.

    Where several labels have the same id, one that equals its id keeps it ("a_b" beside "a b"),
    and the others get a hash of the label behind it. So an id does not depend on the order of the
    labels.

    Args:
        labels: labels that `check_label` takes.
        taken: ids that are in use already.

    Returns:
        The ids, in the order of the labels. Equal labels have equal ids.

    Raises:
        TypeError: a label is no string.
        ValueError: a text that can be no label.

    Example:

    >>> distinct_ids(["Polish", "polish", "French"])
    ['polish_770341d6', 'polish', 'french']
    """
    labels = [check_label(label) for label in labels]
    plain = {label: make_id(label) for label in labels}
    taken = set(taken)
    uses: dict[str, int] = {}
    for id_ in plain.values():
        uses[id_] = uses.get(id_, 0) + 1

    def made(label: str, digits: int) -> str:
        id_ = plain[label]
        if id_ in taken or (uses[id_] > 1 and id_ != label):
            return _with_digest(id_, label, digits)
        return id_

    for digits in (8, 16, 32, 64):  # longer where the hashed id is another's id by chance
        found = {label: made(label, digits) for label in plain}
        if len(set(found.values()) - taken) == len(plain):
            break
    else:
        raise ValueError(f"No distinct ids can be made of {', '.join(map(repr, plain))}.")
    return [found[label] for label in labels]


def match_labels(wanted: Iterable[str], known: Iterable[str]) -> list[int | None]:
    """Finds labels among others that may be written a little differently.

    Args:
        wanted: the labels to find.
        known: where to look for them.

    Returns:
        For each wanted label the index of the same label in `known` (in Unicode NFC); or else of
        the only other one with the same id ("french_horn" for "French horn"), unless several
        wanted ones have it; or `None`.

    Example:

    >>> match_labels(["cat", "french_horn", "dog"], ["French horn", "cat"])
    [1, 0, None]
    """
    wanted, known = [list(map(same_form, labels)) for labels in (wanted, known)]
    exact = {label: i for i, label in reversed(list(enumerate(known)))}
    found = [exact.get(label) for label in wanted]
    asking, offered = _by_id(wanted, exact), _by_id(known, set(wanted))
    for i, label in enumerate(wanted):
        if found[i] is None and label:
            id_ = make_id(label)
            if len(asking.get(id_, ())) == len(offered.get(id_, ())) == 1:
                found[i] = known.index(offered[id_][0])
    return found


def _by_id(labels: Iterable[str], without) -> dict[str, list[str]]:
    """The labels of each id, without those that are matched by name."""
    ids: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        if label not in without:
            ids.setdefault(make_id(label), []).append(label)
    return ids


def _ascii(label: str) -> Iterable[str]:
    """What stands for each character: ASCII, or words that name its code point."""
    latin = False  # whether the character before is one, so that an accent can be left out
    for character in label:
        if character.isascii():
            latin = character.isalpha()
            yield character
            continue
        parts = unicodedata.normalize("NFKD", character.casefold())
        letters = "".join(part for part in parts if not unicodedata.combining(part))
        kind = unicodedata.category(character)
        if kind[0] == "L" and (found := _LATIN.fullmatch(unicodedata.name(letters[:1], ""))):
            letters = found[1] if len(letters) == 1 else letters
        if letters.isascii() and letters:
            latin = letters[-1:].isalpha()
            yield letters
        elif latin and not letters:
            continue  # an accent on a letter that Unicode has not with it
        else:
            latin = False
            yield "_" if kind[0] in "PZ" else f"_{_code_point(character)}_"


def _code_point(character: str) -> str:
    return f"u{ord(character):x}"


def _with_digest(id_: str, label: str, digits: int) -> str:
    digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    return f"{id_[: MOST_ID - digits - 1].rstrip('_')}_{digest}"


def unknown_name(kind: str, name, valid: Iterable[str], extra: str = "") -> str:
    """The error message for a name that is not among the valid ones.

    Args:
        kind: what was looked for, for example "category".
        name: what was given.
        valid: the valid names.
        extra: a closing sentence.

    Returns:
        One message with the name, the nearest match and the valid names.
    """
    valid = [str(item) for item in valid]
    near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(valid[:30]) + (f", ... ({len(valid)} in all)" if len(valid) > 30 else "")
    return f"Unknown {kind} {name!r}.{guess} Valid: {shown}.{' ' + extra if extra else ''}"
