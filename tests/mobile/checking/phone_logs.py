"""What TensorFlow Lite's benchmark_model prints on a phone."""

# What tflite/tools/benchmark/benchmark_model.cc prints on Android, as of 2025.
LOG = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [50]
INFO: Num threads: [{threads}]
INFO: Min warmup runs: [3]
INFO: Graph: [/data/local/tmp/{name}]
INFO: Signature to run: []
INFO: Use xnnpack: [1]
INFO: #threads used for CPU inference: [{threads}]
INFO: Loaded model /data/local/tmp/{name}
INFO: Initialized TensorFlow Lite runtime.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
VERBOSE: Replacing 58 out of 58 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 \
partitions for subgraph 0.
INFO: The input model file size (MB): {size:g}
INFO: Initialized session in 6.395ms.
INFO: Running benchmark for at least 3 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=153 first=2761 curr=2885 min=2605 max=18080 avg=3243.58 std=2165 p5=2630 median=2763 \
p95=5331

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if \
exceeding 150 seconds.
INFO: count=337 first=2881 curr=2703 min=2605 max=20356 avg=2942.27 std=1190 p5=2647 \
median={median} p95=3169

INFO: Inference timings in us: Init: 6395, First inference: 2761, Warmup (avg): 3243.58, \
Inference (avg): 2942.27
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only \
APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your \
discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=39.4531 overall=40.8281
"""
# TensorFlow 2.4: no median, another name of the memory. The mean in scientific notation.
OLD = """\
STARTING!
Num threads: [{threads}]
Graph: [/data/local/tmp/{name}]
#threads used for CPU inference: [{threads}]
Loaded model /data/local/tmp/{name}
Initialized session in 17.187ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding \
150 seconds.
count=1 curr=3512391

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding \
150 seconds.
count=50 first=2990275 curr=2913402 min=2727568 max=3189954 avg=2.95034e+06 std=109798

Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3.51239e+06, \
Inference (avg): 2.95034e+06
Peak memory footprint (MB): init=4.21094 overall=46.0859
"""


def log(files, threads=(1, 2), medians=(3000, 1000, 2000), template=LOG) -> str:
    """What the tool prints in as many rounds as there are medians."""
    return "\n".join(
        template.format(name=file.name, threads=n, size=file.bytes / 1e6, median=median + n)
        for median in medians
        for n in threads
        for file in files.files
    )
