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
 * Classifies an image of the camera or the gallery.
 *
 * Categories get a chip each: a branch pack computes only what the chosen ones need. Nodes of a
 * file with a gains input get a slider each. All work on the network happens on [worker].
 */
class MainActivity : Activity() {
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()
    private lateinit var classifier: Classifier // of the worker
    private var image: Image? = null // of the worker
    private var gains: FloatArray? = null // of the worker
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
            val (choices, nodes) = Pair(classifier.choices, classifier.gains)
            val most = classifier.maxGain ?: MOST
            runOnUiThread {
                addChips(choices)
                addSliders(nodes, most)
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
        val found = if (requestCode == CAMERA) photo else data?.data
        if (resultCode == RESULT_OK && found != null) {
            show(found)
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
        val bitmap = ImageDecoder.decodeBitmap(source) { decoder, info, _ -> // turned as EXIF says
            if (info.mimeType == "image/jpeg") { // as Python has them decoded
                val (width, height) = Pair(info.size.width, info.size.height)
                decoder.setTargetSampleSize(Image.sampleSize(width, height, classifier.side))
            }
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
        }
        image = bitmap.toImage()
        runOnUiThread { findViewById<ImageView>(R.id.image).setImageBitmap(bitmap) }
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
                val chosen = labels.filterIndexed { i, _ -> buttons[i].isChecked }
                if (chosen.isEmpty()) {
                    results.setText(R.string.choose_category)
                } else {
                    work {
                        classifier.choose(chosen)
                        classify()
                    }
                }
            }
        }
    }

    private fun addSliders(nodes: List<String>, most: Float) {
        val sliders = findViewById<ViewGroup>(R.id.sliders)
        val bars = nodes.map { SeekBar(this) }
        nodes.zip(bars) { node, bar ->
            val text = TextView(this)
            text.text = getString(R.string.gain, node, 1f)
            bar.max = (most * STEPS).toInt()
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

    /** Classifies the image, if there is one, and shows the answer; on the worker. */
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

    /** Does something on the worker; what goes wrong is shown. */
    private fun work(block: () -> Unit) = worker.execute {
        try {
            block()
        } catch (error: Exception) { // an image or a file that cannot be read
            runOnUiThread { results.text = error.message ?: error.toString() }
        }
    }

    /** The interpreter wants files: copies `assets/model` to where files can be. */
    private fun copyAssets(): File {
        val folder = File(filesDir, MODEL)
        folder.deleteRecursively() // of an older version of the app
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
        const val MOST = 3f // largest gain, where the file has no limit
        const val PHOTO = "photo"
        const val STEPS = 100 // per gain of 1
        const val THREADS = 4
        const val TOP = 3
    }
}
