"""Command lines of the recipes: absl flags, in groups, with a help text people can read."""

import textwrap
import types
from collections.abc import Mapping, Sequence

from absl import flags

from keras_seqpar import data

# Flags of every recipe that measures a network on images.
DATA_FLAGS = (
    ("string", "dataset", "digits", f"What to measure on: {', '.join(data.SPECS)}."),
    ("enum", "split", "validation", "Which of its splits.", [*data.SPLITS]),
    ("string", "data_dir", None, "Where tensorflow-datasets keeps its data."),
    ("integer", "image_size", None, "Side of the images; default: what the network takes.", 1),
    ("boolean", "skip_unreadable", False, "Leave out images that cannot be decoded."),
    ("integer", "batch_size", 64, "Images per step.", 1),
)


class Options:
    """Flags of one program, kept apart from those of others.

    Args:
        about: the program's docstring, the head of the help text.
        defaults: flag -> text that describes its default, where the default is not one value.
        first: name of an argument that must stand on the command line without a flag.
    """

    def __init__(
        self, about: str, defaults: Mapping[str, str] | None = None, first: str | None = None
    ):
        self.about, self.defaults, self.first = about, dict(defaults or {}), first
        self._values = flags.FlagValues()
        self._groups: dict[str, list[str]] = {}

    def group(self, title: str, *entries: tuple) -> None:
        """Adds flags: each is (kind, name, default, text, *what the kind needs besides)."""
        for kind, name, default, text, *rest in entries:
            define = getattr(flags, f"DEFINE_{kind}")
            bounds = {"lower_bound": rest[0]} if rest and kind in ("integer", "float") else {}
            choices = rest if kind == "enum" else []
            define(name, default, *choices, text, flag_values=self._values, **bounds)
            self._groups.setdefault(title, []).append(name)

    def help(self) -> str:
        """The help text."""
        lines = [self.about]
        for title, names in self._groups.items():
            lines.append(f"{title}:")
            for name in names:
                flag = self._values[name]
                text = flag.help
                default = self.defaults.get(name, flag.default)
                text += "" if default is None else f" [{default}]"
                title_ = f"  --{name}"
                lines += textwrap.wrap(
                    text, 96, initial_indent=f"{title_:20} ", subsequent_indent=" " * 21
                )
        return "\n".join(lines) + "\n"

    def parse(self, argv: Sequence[str]) -> tuple[types.SimpleNamespace, dict]:
        """Parses a command line; prints the help text and exits where that is asked for.

        Args:
            argv: the arguments, without the program's name.

        Returns:
            All flags, and those that were given, by name.

        Raises:
            ValueError: an unknown flag, a bad value, or an argument without a flag.
        """
        if any(item in ("-h", "--help", "-help", "--helpfull") for item in argv):
            print(self.help())
            raise SystemExit(0)
        self._values.unparse_flags()
        try:
            rest = self._values(["", *argv])[1:]
        except flags.Error as error:
            raise ValueError(f"{error} (--help lists all flags)") from error
        everything = {n: self._values[n].value for names in self._groups.values() for n in names}
        if self.first:
            if not rest:
                raise ValueError(f"Give the {self.first} (--help lists all flags).")
            everything[self.first] = rest.pop(0)
        if rest:
            raise ValueError(f"Arguments without a flag: {' '.join(rest)} (see --help).")
        given = {
            n: everything[n]
            for names in self._groups.values()
            for n in names
            if self._values[n].present
        }
        return types.SimpleNamespace(**everything), given
