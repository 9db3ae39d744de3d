"""A small WordNet in its own file format."""

# Enough of WordNet, in its own format: (words, hypernyms as indices, gloss).
SYNSETS = [
    (["entity"], [], "what exists"),
    (["physical_entity"], [0], "an entity with a place"),
    (["abstraction"], [0], "an entity without"),
    (["dog", "domestic_dog"], [1], "barks"),
    (["cat", "true_cat"], [1], "purrs"),
    (["lapdog", "lap_dog"], [3, 1], "curly"),
    (["cur", "mutt"], [3], "small"),
    (["Blue_cat"], [4], "blue eyes"),
    (["tom"], [4], "striped"),
    (["jack"], [2], "a family name"),
    (["jack", "hoist"], [1], "lifts"),
    (["hound", "hound_dog"], [3], "hunts"),
    (["rache"], [11], "smells"),
    (["sleuth"], [11], "runs"),
]


def write_wordnet(folder, synsets=SYNSETS, version="3.0"):
    """Writes `data.noun` and `index.noun` of a small WordNet; returns the wnids."""
    head = f"  1 A license.  \n  2 WordNet {version} Copyright 2006 by Princeton University.  \n"
    offsets = [0] * len(synsets)
    for _ in range(2):  # offsets have a fixed width: the second time they are right
        lines = []
        place = len(head.encode())
        for i, (words, above, gloss) in enumerate(synsets):
            offsets[i] = place
            pointers = "".join(f" @ {offsets[j]:08d} n 0000" for j in above)
            shown = " ".join(f"{word} 0" for word in words)
            lines.append(
                f"{place:08d} 03 n {len(words):02x} {shown} {len(above) + 1:03d}{pointers} "
                f"~ {offsets[0]:08d} n 0000 | {gloss}  \n"
            )
            place += len(lines[-1].encode())
    senses: dict[str, list[int]] = {}
    for i, (words, _, _) in enumerate(synsets):
        for word in words:
            senses.setdefault(word.lower(), []).append(offsets[i])
    index = [
        f"{word} n {len(found)} 1 @ {len(found)} 0 {' '.join(f'{o:08d}' for o in found)}  \n"
        for word, found in sorted(senses.items())
    ]
    folder.mkdir(exist_ok=True)
    (folder / "data.noun").write_bytes((head + "".join(lines)).encode())
    (folder / "index.noun").write_bytes((head + "".join(index)).encode())
    return [f"n{offset:08d}" for offset in offsets]
