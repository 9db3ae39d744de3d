package keras.seqpar.sample

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.ContentValues
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Bundle
import android.provider.MediaStore
import android.view.ViewGroup
import android.widget.Button
import android.widget.ImageView
import android.widget.SeekBar
import android.widget.TextView
import android.widget.ToggleButton
import java.io.File
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import keras.seqpar.Answer
import keras.seqpar.Classifier
import keras.seqpar.Image

/**
 * Classifies an image from the camera or the gallery.
 *
 * There is one chip per category: a branch pack computes only the chosen categories. For a file
 * with a gains input there is one slider per node. The network is used on [worker] only.
 */
class MainActivity : Activity() {
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()
    private lateinit var classifier: Classifier // used on the worker only
    private var image: Image? = null // used on the worker only
    private var gains: FloatArray? = null // used on the worker only
    private var photo: Uri? = null
    private lateinit var results: TextView

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        results = findViewById(R.id.results)
        photo = savedInstanceState?.getString(PHOTO)?.let(Uri::parse)
        findViewById<Button>(R.id.camera).setOnClickListener { takeImage() }
        findViewById<Button>(R.id.gallery).setOnClickListener { chooseImage() }
        work {
            classifier = Classifier(copyAssets(), LiteRtEngines, THREADS)
            val (categories, nodes) = Pair(classifier.choices, classifier.gains)
            val maxGain = classifier.maxGain ?: MAX_GAIN
            runOnUiThread {
                addChips(categories)
                addSliders(nodes, maxGain)
            }
        }
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putString(PHOTO, photo?.toString())
    }

    override fun onDestroy() {
        worker.execute { if (::classifier.isInitialized) classifier.close() }
        worker.shutdown()
        super.onDestroy()
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        super.onActivityResult(requestCode, resultCode, data)
        val uri = if (requestCode == CAMERA) photo else data?.data
        if (resultCode == RESULT_OK && uri != null) {
            show(uri)
        } else if (requestCode == CAMERA) {
            photo?.let { contentResolver.delete(it, null, null) }
        }
    }

    private fun takeImage() {
        val store = MediaStore.Images.Media.EXTERNAL_CONTENT_URI
        photo = contentResolver.insert(store, ContentValues())
        val intent = Intent(MediaStore.ACTION_IMAGE_CAPTURE)
        try {
            startActivityForResult(intent.putExtra(MediaStore.EXTRA_OUTPUT, photo), CAMERA)
        } catch (_: ActivityNotFoundException) {
            photo?.let { contentResolver.delete(it, null, null) }
            results.setText(R.string.no_camera)
        }
    }

    private fun chooseImage() {
        val intent = Intent(Intent.ACTION_GET_CONTENT).setType("image/*")
        startActivityForResult(intent, GALLERY)
    }

    private fun show(uri: Uri) = work {
        val source = ImageDecoder.createSource(contentResolver, uri)
        // Also applies the EXIF orientation.
        val bitmap = ImageDecoder.decodeBitmap(source) { decoder, info, _ ->
            if (info.mimeType == "image/jpeg") { // decode at the same fraction as in Python
                val (width, height) = Pair(info.size.width, info.size.height)
                decoder.setTargetSampleSize(Image.sampleSize(width, height, classifier.side))
            }
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
            decoder.isUnpremultipliedRequired = true // transparent parts keep their exact colors
        }
        val decoded = bitmap.toImage()
        image = decoded
        val shown = with(decoded) {
            Bitmap.createBitmap(opaque(), width, height, Bitmap.Config.ARGB_8888)
        }
        runOnUiThread { findViewById<ImageView>(R.id.image).setImageBitmap(shown) }
        classify()
    }

    private fun addChips(labels: List<String>) {
        val chips = findViewById<ViewGroup>(R.id.chips)
        val buttons = labels.map { label ->
            ToggleButton(this).apply {
                text = label
                textOn = label
                textOff = label
                isChecked = true
            }
        }
        for (button in buttons) {
            chips.addView(button)
            button.setOnCheckedChangeListener { _, _ ->
                val selected = labels.filterIndexed { i, _ -> buttons[i].isChecked }
                if (selected.isEmpty()) {
                    results.setText(R.string.choose_category)
                } else {
                    work {
                        classifier.choose(selected)
                        classify()
                    }
                }
            }
        }
    }

    private fun addSliders(nodes: List<String>, maxGain: Float) {
        val sliders = findViewById<ViewGroup>(R.id.sliders)
        val bars = nodes.map { SeekBar(this) }
        nodes.zip(bars) { node, bar ->
            val text = TextView(this)
            text.text = getString(R.string.gain, node, 1f)
            bar.max = (maxGain * STEPS).toInt()
            bar.progress = STEPS // a gain of 1, neutral
            bar.setOnSeekBarChangeListener(
                object : SeekBar.OnSeekBarChangeListener {
                    override fun onProgressChanged(bar: SeekBar, progress: Int, byUser: Boolean) {
                        text.text = getString(R.string.gain, node, gain(progress))
                    }

                    override fun onStartTrackingTouch(bar: SeekBar) = Unit

                    override fun onStopTrackingTouch(bar: SeekBar) {
                        val values = FloatArray(bars.size) { gain(bars[it].progress) }
                        work {
                            gains = values
                            classify()
                        }
                    }
                },
            )
            sliders.addView(text)
            sliders.addView(bar)
        }
    }

    private fun gain(progress: Int) = progress.toFloat() / STEPS

    /** Classifies the current image, if any, and shows the prediction. Called on the worker. */
    private fun classify() {
        val image = image ?: return
        val start = System.nanoTime()
        val answer = classifier.classify(image, gains)
        val milliseconds = (System.nanoTime() - start) / 1e6
        runOnUiThread { results.text = describe(answer, milliseconds) }
    }

    private fun describe(answer: Answer, milliseconds: Double): String {
        val best = answer.top(TOP).map { getString(R.string.score, it.label, it.score) }
        val none = if (answer.none == true) listOf(getString(R.string.none)) else emptyList()
        return (none + best + getString(R.string.latency, milliseconds)).joinToString("\n")
    }

    /** Runs a block on the worker; shows the message of an error. */
    private fun work(block: () -> Unit) = worker.execute {
        try {
            block()
        } catch (error: Exception) { // such as an unreadable image or file
            runOnUiThread { results.text = error.message ?: error.toString() }
        }
    }

    /** Copies `assets/model` to a folder, because the interpreter reads files only. */
    private fun copyAssets(): File {
        val folder = File(filesDir, MODEL)
        folder.deleteRecursively() // may be from an older version of the app
        folder.mkdirs()
        for (name in assets.list(MODEL).orEmpty()) {
            assets.open("$MODEL/$name").use { from ->
                File(folder, name).outputStream().use { from.copyTo(it) }
            }
        }
        return folder
    }

    private fun Bitmap.toImage(): Image {
        val pixels = IntArray(width * height)
        getPixels(pixels, 0, width, 0, 0, width, height)
        return Image(width, height, pixels)
    }

    private companion object {
        const val CAMERA = 1
        const val GALLERY = 2
        const val MODEL = "model"
        const val MAX_GAIN = 3f // for files without a limit
        const val PHOTO = "photo"
        const val STEPS = 100 // slider steps per gain of 1
        const val THREADS = 4
        const val TOP = 3
    }
}
