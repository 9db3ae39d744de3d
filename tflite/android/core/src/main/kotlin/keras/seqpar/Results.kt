package keras.seqpar

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Statistics about one frame.
 *
 * @property mode `boxes` (what changed was computed), `dense` (everything was) or `cached` (nothing
 *   changed, nothing was computed).
 * @property changed share of the frame's positions that changed.
 * @property boxes of the frame that were computed again.
 * @property macs multiply-accumulates that were computed.
 * @property macsDense multiply-accumulates of a dense pass.
 * @property milliseconds time from frame to output.
 * @property stateBytes size of all that the stream keeps from frame to frame.
 */
class Stats(
    val mode: String,
    val changed: Double,
    val boxes: List<Box>,
    val macs: Long,
    val macsDense: Long,
    val milliseconds: Double,
    val stateBytes: Long,
) {
    /** Share of a dense pass's multiply-accumulates that were saved. */
    val saved: Double get() = if (macsDense > 0) 1 - macs.toDouble() / macsDense else 0.0
}

/** What a stream returns for a frame. */
class Result internal constructor(
    private val network: StreamNetwork,
    internal val bytes: Map<String, ByteArray>,
    val stats: Stats,
) {
    /** Name of an output -> its values, row by row; integers are scaled back to floats. */
    val outputs: Map<String, FloatArray> by lazy {
        bytes.mapValues { (name, content) ->
            val values = ByteBuffer.wrap(content).order(ByteOrder.nativeOrder())
            network.outputs.getValue(name).decode(values)
        }
    }

    /** The values of the first output. */
    val output: FloatArray get() = outputs.getValue(network.scores)

    /** The prediction of a network that scores categories. */
    val answer: Answer by lazy {
        val scores = activate(output, network.activation)
        val none = outputs[NONE].takeIf { network.scores != NONE }
        Answer(network.labels ?: scores.indices.map { "$it" }, scores, none?.let { it[0] > 0.5f })
    }

    /** The best class of every position of a map of scores; of a single class 1 above 0.5. */
    val classes: IntArray by lazy {
        bestClasses(output, network.outputs.getValue(network.scores).shape.last())
    }
}
