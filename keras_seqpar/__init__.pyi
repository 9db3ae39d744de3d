"""What type checkers and editors see of the names that `__init__.py` finds on demand."""

from keras_seqpar import costs as costs
from keras_seqpar import data as data
from keras_seqpar import hierarchy as hierarchy
from keras_seqpar import mobile as mobile
from keras_seqpar import plots as plots
from keras_seqpar import presets as presets
from keras_seqpar import selective as selective
from keras_seqpar import weights as weights
from keras_seqpar.costs.budgets import fit_budget as fit_budget
from keras_seqpar.costs.comparing import compare as compare
from keras_seqpar.costs.comparing import plain_twin as plain_twin
from keras_seqpar.costs.counting import cost as cost
from keras_seqpar.hierarchy.tree import Hierarchy as Hierarchy
from keras_seqpar.networks.builders import build_nhl as build_nhl
from keras_seqpar.networks.builders import build_one_branch as build_one_branch
from keras_seqpar.networks.builders import build_phl as build_phl
from keras_seqpar.networks.builders import build_plain as build_plain
from keras_seqpar.networks.parts import with_activation as with_activation
from keras_seqpar.networks.thresholds import fit_threshold as fit_threshold
from keras_seqpar.presets.loading import load_preset as load_preset
from keras_seqpar.presets.loading import preset_names as preset_names
from keras_seqpar.surgery.attention import attend as attend
from keras_seqpar.surgery.attention import attention_input as attention_input
from keras_seqpar.surgery.attention import gain_names as gain_names
from keras_seqpar.surgery.cutout import cutout as cutout
from keras_seqpar.surgery.features import split_branch as split_branch
from keras_seqpar.surgery.fusing import fuse as fuse
from keras_seqpar.surgery.fusing import unfuse as unfuse
from keras_seqpar.surgery.growing import add_category as add_category
from keras_seqpar.surgery.growing import merge as merge
from keras_seqpar.surgery.slimming import from_plain as from_plain
from keras_seqpar.surgery.switching import SubsetPredictor as SubsetPredictor
from keras_seqpar.surgery.unknowns import none_of_these as none_of_these
from keras_seqpar.surgery.unknowns import with_threshold as with_threshold
from keras_seqpar.weights.copies import copy_weights as copy_weights

__version__: str
