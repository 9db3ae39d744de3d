package keras.seqpar

import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.tanh

/** A category's label and score. */
data class Scored(val label: String, val score: Float)

/**
 * What a network says about an image.
 *
 * @property labels one per score; numbers where the file has no labels.
 * @property scores in the order of the labels.
 * @property none the image shows none of the categories; `null` where that is not known.
 */
class Answer(val labels: List<String>, val scores: FloatArray, val none: Boolean?) {
    /** The best, highest first; equal scores in the order of the labels. */
    fun top(count: Int): List<Scored> =
        labels.indices.sortedByDescending { scores[it] }.take(count)
            .map { Scored(labels[it], scores[it]) }

    /**
     * The answer among some of the categories: softmax scores are divided by their sum, which is
     * what a cutout of them gives; others stay as they are.
     */
    fun among(chosen: List<String>, isSoftmax: Boolean): Answer {
        val kept = FloatArray(chosen.size) { scores[labels.indexOf(chosen[it])] }
        val sum = if (isSoftmax) kept.sum() else 1f
        if (sum > 0) for (i in kept.indices) kept[i] /= sum // coarse scores may all be 0
        return Answer(chosen, kept, null)
    }
}

/** `(pixel - mean) / std`, per channel, is what a network takes. */
internal class Normalization(private val mean: FloatArray, private val std: FloatArray) {
    /** The network takes the pixels themselves. */
    val isNeutral: Boolean get() = mean.all { it == 0f } && std.all { it == 1f }

    val channels: Int get() = mean.size

    fun apply(pixels: ByteArray): FloatArray = FloatArray(pixels.size) {
        val channel = it % mean.size
        ((pixels[it].toInt() and 255).toFloat() - mean[channel]) / std[channel]
    }

    companion object {
        /** The entries `mean` and `std`; `null` where there are none. */
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
    /** keras_seqpar.networks.thresholds.known_score, compared. */
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

/** Scores of logits; one of the activations that a manifest may name. */
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
