"""Whether the scores of an integer file are fine enough for its categories."""

from keras_seqpar.utils.warning import warn_user

# Integer kernels compute a softmax in steps of these fractions of 1, whatever the file's output is.
STEPS = {"int8": 256, "int16x8": 32768}
# Steps that an even share of 1 should have. Below, most scores become 0, and the best ones equal.
LEAST_STEPS = 4
TAKE_LOGITS = (
    "Convert with outputs='logits' (--outputs logits): Runner then computes the scores in floats."
)


def warn_of_coarse_scores(
    categories: int,
    activation: str | None,
    quantization: str,
    *,
    logits: bool,
    who: str,
    advice: str = TAKE_LOGITS,
) -> None:
    """Warns where a file's scores have too few steps for the number of its categories.

    Args:
        categories: how many the file scores.
        activation: over the logits.
        quantization: of the file.
        logits: the file gives logits, and what runs it computes the scores.
        who: how to call the network in the message.
        advice: what to do, a sentence.
    """
    steps = STEPS.get(quantization)
    if logits or activation != "softmax" or steps is None or categories * LEAST_STEPS <= steps:
        return
    warn_user(
        f"{quantization} scores have steps of 1/{steps}, and the {categories} scores of {who} add "
        f"up to 1: most of them become 0, and several categories may share the best score. {advice}"
    )
