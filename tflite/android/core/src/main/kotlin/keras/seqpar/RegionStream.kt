package keras.seqpar

import java.io.File
import java.io.FileNotFoundException

/**
 * Segments the frames of a camera, renewing the regions that changed.
 *
 * In every stored map a region is computed again as far as its change reaches, but at most [margin]
 * pixels around it. With [margin] `null` and a threshold of 0 the scores are those of a run of the
 * whole frame, bit for bit. A margin in pixels is faster and not exact. Counterpart of
 * keras_seqpar.selective.region_stream. Not thread-safe.
 *
 *     RegionStream(File("street.stream"), engines, Detector(24f), margin = 7).use { camera ->
 *         val classes = camera.run(pixels).classes
 *     }
 *
 * @param folder as for [Stream], of a network whose only output is a map of scores.
 * @param engines loads files; on Android, `LiteRtEngines`. They must be able to resize inputs.
 * @param detector finds what changed.
 * @param include changes are looked for only here; `null` for everywhere.
 * @param exclude changes are not looked for here.
 * @param margin pixels around a change up to which its effect is followed; `null` for all of it.
 * @param minRegionPixels changed pixels that a region must have; smaller regions wait until they
 *   grow.
 * @param maxCostShare share of a whole frame's cost from which on the whole frame is computed.
 * @param refresh the whole frame is computed every `refresh` frames; `null` for never.
 * @param threads number of CPU threads.
 * @throws FileNotFoundException there is no such folder, or a file of it is missing.
 * @throws IllegalArgumentException a file is damaged or of another stream, the network gives no
 *   map, or an argument is out of range.
 */
class RegionStream(
    folder: File,
    engines: Engines,
    detector: Detector = Detector(),
    include: List<Box>? = null,
    exclude: List<Box> = emptyList(),
    private val margin: Int? = null,
    private val minRegionPixels: Int = 1,
    private val maxCostShare: Double = 1.0,
    private val refresh: Int? = null,
    threads: Int = 1,
) : Stream(StreamPlan.read(folder), engines, detector, include, exclude, threads) {
    private var sinceFull = 0

    /** Height and width of the map of classes. */
    val outputSize: List<Int>

    init {
        try {
            require((margin ?: 0) >= 0 && minRegionPixels >= 1 && (refresh ?: 1) >= 1) {
                "margin must be 0 or more, minRegionPixels and refresh 1 or more, got $margin, " +
                    "$minRegionPixels, $refresh."
            }
            require(maxCostShare > 0 && maxCostShare <= 1) {
                "maxCostShare must be above 0 and up to 1, got $maxCostShare."
            }
            val shape = network.outputs.values.singleOrNull()?.shape
            require(shape?.size == 4) { "${network.name} does not give one map of scores." }
            outputSize = shape.subList(1, 3)
        } catch (error: IllegalArgumentException) {
            close()
            throw error
        }
    }

    override fun compute(frame: Frame, changed: BooleanArray, gains: ByteArray): Computed {
        sinceFull++
        val isNew = isNew(gains)
        val isDue = refresh != null && sinceFull >= refresh && !isNew
        val renewed = when {
            isDue -> wanted ?: BooleanArray(changed.size) { true }
            minRegionPixels > 1 -> withoutSmall(changed, size.width, minRegionPixels)
            else -> changed
        }
        val boxes = cover(renewed, size.width)
        var work = if (isNew || isDue) engine.everything else engine.follow(boxes, margin)
        if (work.cost >= maxCostShare * engine.everything.cost) work = engine.everything
        val done = renew(frame, boxes, work, gains)
        if (done.mode == "dense") sinceFull = 0
        return done
    }
}
