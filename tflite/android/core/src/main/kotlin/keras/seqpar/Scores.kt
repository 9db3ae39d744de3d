package keras.seqpar

import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.tanh

/** The label and score of a category. */
data class Scored(val label: String, val score: Float)

/**
 * The prediction for an image.
 *
 * @property labels one per score; numbers if the file has no labels.
 * @property scores the scores, in the order of the labels.
 * @property none true if the image shows none of the categories; `null` if the network has no
 *   threshold for this.
 */
class Answer(val labels: List<String>, val scores: FloatArray, val none: Boolean?) {
    /** The highest scores, highest first; equal scores in the order of the labels. */
    fun top(count: Int): List<Scored> =
        labels.indices.sortedByDescending { scores[it] }.take(count)
            .map { Scored(labels[it], scores[it]) }

    /**
     * The prediction for some of the categories. Softmax scores are divided by their sum, which
     * gives the scores of a cutout. Other scores do not change.
     */
    fun among(categories: List<String>, isSoftmax: Boolean): Answer {
        val kept = FloatArray(categories.size) { scores[labels.indexOf(categories[it])] }
        val sum = if (isSoftmax) kept.sum() else 1f
        if (sum > 0) for (i in kept.indices) kept[i] /= sum // coarse scores may all be 0
        return Answer(categories, kept, null)
    }
}

/** Computes a network's input: `(pixel - mean) / std`, per channel. */
internal class Normalization(private val mean: FloatArray, private val std: FloatArray) {
    /** True if the network takes pixels. */
    val isNeutral: Boolean get() = mean.all { it == 0f } && std.all { it == 1f }

    val channels: Int get() = mean.size

    fun apply(pixels: ByteArray): FloatArray = FloatArray(pixels.size) {
        val channel = it % mean.size
        ((pixels[it].toInt() and 255).toFloat() - mean[channel]) / std[channel]
    }

    companion object {
        /** Reads the entries `mean` and `std`; `null` if there are none. */
        fun read(config: JsonObject): Normalization? {
            if (config["mean"] == null || config["std"] == null) return null
            val (mean, std) = listOf("mean", "std").map { key ->
                config.numbers(key).map { it.toFloat() }.toFloatArray()
            }
            require(mean.isNotEmpty() && mean.size == std.size) {
                "mean has ${mean.size} values and std ${std.size}"
            }
            return Normalization(mean, std)
        }
    }
}

/** The score below which an image shows none of a network's categories. */
internal class Threshold(val value: Double, val score: String, val temperature: Double) {
    /** True if the score of the logits (keras_seqpar's `known_score`) is below the threshold. */
    fun rejects(logits: FloatArray): Boolean {
        val top = logits.max().toDouble()
        if (score == "max_logit") return top < value
        val sum = logits.sumOf { exp((it - top) / temperature) }
        return top + temperature * ln(sum) < value
    }

    companion object {
        fun read(config: JsonObject): Threshold {
            val score = config.text("score")
            require(score == "energy" || score == "max_logit") { "unknown score '$score'" }
            return Threshold(config.number("value"), score, config.number("temperature"))
        }
    }
}

/** Computes scores from logits with an activation of [Manifest]. */
internal fun activate(logits: FloatArray, activation: String?): FloatArray =
    when (activation) {
        "softmax" -> {
            val top = logits.max()
            val powers = FloatArray(logits.size) { exp(logits[it] - top) }
            val sum = powers.sum()
            FloatArray(logits.size) { powers[it] / sum }
        }
        "sigmoid" -> FloatArray(logits.size) { 0.5f + 0.5f * tanh(0.5f * logits[it]) }
        else -> logits
    }

/** The best class of every position of a map of scores; of a single class 1 above 0.5. */
internal fun bestClasses(scores: FloatArray, count: Int): IntArray {
    if (count == 1) return IntArray(scores.size) { if (scores[it] > 0.5f) 1 else 0 }
    return IntArray(scores.size / count) { position ->
        val at = position * count
        var best = 0
        for (i in 1 until count) if (scores[at + i] > scores[at + best]) best = i
        best
    }
}
