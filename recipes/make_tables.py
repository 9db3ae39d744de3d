"""Makes keras_seqpar/hierarchy/tables/: ImageNet-1k, and its superclasses in WordNet.

    python recipes/make_tables.py --wordnet=PATH --wnids=PATH

--wordnet  a folder with WordNet 3.0's data.noun and index.noun. Debian and Ubuntu have them in
           the package wordnet-base (/usr/share/wordnet), nltk in its corpus "wordnet".
--wnids    a text file with the 1,000 ids of ImageNet-1k, one per line, in the order of the
           logits. timm carries one: timm/data/_info/imagenet_synsets.txt.

Takes a few seconds. The same input gives the same files, byte for byte.
"""

from keras_seqpar.utils.commands import EXPECTED_ERRORS, flag_group, run

from pathlib import Path

from absl import flags

from keras_seqpar.hierarchy.table_making import FOLDER, make_tables

args = flags.FLAGS
with flag_group("Files"):
    flags.DEFINE_string("wordnet", None, "Folder with data.noun and index.noun. Required.")
    flags.DEFINE_string("wnids", None, "File with the ids of ImageNet-1k. Required.")
    flags.DEFINE_string("out", None, "Folder to write to; default: keras_seqpar/hierarchy/tables.")


def main(_) -> None:
    """Makes the tables and prints the numbers of superclasses."""
    if not args.wordnet or not args.wnids:
        raise ValueError("Say where the sources are: --wordnet=FOLDER --wnids=FILE.")
    out = Path(args.out or FOLDER)
    for levels, counts in make_tables(args.wordnet, args.wnids, out).items():
        print(f"{levels} split-points: {' + '.join(map(str, counts))} superclasses")
    print(f"Written to {out}.")


if __name__ == "__main__":
    run(main, errors=(*EXPECTED_ERRORS, KeyError))
