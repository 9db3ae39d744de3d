"""What type checkers and editors see of the names that `__init__.py` finds on demand."""

from keras_seqpar.selective.detector import Detector as Detector
from keras_seqpar.selective.frame_stream import Stream as Stream
from keras_seqpar.selective.keras_engine.opening import open_sizes as open_sizes
from keras_seqpar.selective.litert_engine.export import export_stream as export_stream
from keras_seqpar.selective.regions import RegionStream as RegionStream
from keras_seqpar.selective.regions import region_stream as region_stream
from keras_seqpar.selective.reporting import Report as Report
from keras_seqpar.selective.reporting import RunReport as RunReport
from keras_seqpar.selective.reporting import report as report
from keras_seqpar.selective.results import Result as Result
from keras_seqpar.selective.results import Stats as Stats
from keras_seqpar.selective.streams import stream as stream
