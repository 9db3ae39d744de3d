"""Flags of training: settings, defaults, and what is refused."""

import pathlib

import pytest

from keras_seqpar.training import settings
from keras_seqpar.training.config import to_values
from keras_seqpar.training.flags import parse_train_flags
from tests.training.runner import refused


@pytest.mark.parametrize("name", settings.names())
def test_a_setting_gives_defaults_and_flags_win(name, images):
    given = settings.read(name)
    text = (pathlib.Path(settings.__file__).parent / f"{name}.toml").read_text()
    assert f"recipes/train.py --setting {name}" in text
    needed = given.get("frozen_epochs") and "init" not in given
    init = ["--init=timm:resnet50"] if needed else []
    config, _ = parse_train_flags([f"--setting={name}", *init])
    assert given.items() <= to_values(config).items()
    arguments = [f"--setting={name}", f"--dataset=folder:{images}", "--width=0.375"]
    arguments += init
    config, _ = parse_train_flags(arguments)
    expected = given | {"dataset": f"folder:{images}", "width": 0.375}
    assert expected.items() <= to_values(config).items()


def test_a_setting_without_its_frozen_epochs(images):
    """Its --frozen_end goes with them, and so do its other flags of frozen epochs."""
    arguments = ["--setting=mobile", "--frozen_epochs=0", "--epochs=2", "--learning_rate=0.01"]
    config, _ = parse_train_flags([*arguments, f"--dataset=folder:{images}"])
    assert (config.trunk.frozen_end, config.optimizer.learning_rate) == (None, 0.01)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--distillation=0.3", "--distillation 0.3 would have no effect: there is no --teacher"),
        ("--temperature=3", "no --teacher. Give --teacher FILE.keras, too, or leave out --temp"),
        ("--teacher=a.keras --distillation=0", "--distillation is 0. Give --distillation above 0"),
        ("--frozen_views=2", "--frozen_views 2 would have no effect: --frozen_epochs is 0"),
        ("--frozen_end=stage1", "--frozen_epochs is 0. Give --frozen_epochs above 0"),
        ("--setting=mobile --frozen_views=0 --frozen_memory=2", "--frozen_views 0 keeps no feat"),
        ("--features_dir=kept", "--features_dir kept would have no effect: --frozen_epochs is 0"),
        ("--setting=mobile --learning_rate=1", "--epochs is 0. Give --epochs above 0, or --frozen"),
        ("--setting=fine_tune --init=a --trunk_rate=0.1", "--epochs is 0. Give --epochs above 0,"),
        ("--setting=mobile --mixup=0.2", "--epochs is 0, and features that are kept are not mixed"),
        ("--partial_init", "--partial_init would have no effect: it says how --init NAME fills"),
        ("--partial_init --init=plain:a.keras", "Give --init, not of plain:FILE.keras, or leave"),
        ("--network=plain --plan=early", "--network plain has no branches. Give another --network"),
        ("--dataset=folder:a --data_dir=b", "it is for sets of tensorflow-datasets and imagenet"),
        ("--resume --overwrite --output=a", "--resume continues a run, --overwrite replaces it"),
    ],
)
def test_flags_that_contradict_each_other(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(arguments.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--familly=resnet18"], "Unknown command line flag 'familly'. Did you mean: family"),
        (
            ["--class_weight=balanced", "--sampling=balanced"],
            "each make all categories count the same; together, rare ones would count more",
        ),
        (["--epochs=-1"], "flag --epochs=-1: -1 is not a non-negative integer"),
        (["--ema=1"], "--ema must be 0 or more and below 1, got 1.0"),
        (["--trunk_rate=0"], "--trunk_rate must be above 0, got 0.0"),
        (["--optimizer=adam"], "value should be one of <adamw|sgd>"),
        (["--learning_rate=0"], "--learning_rate must be above 0, got 0.0"),
        (["--learning_rate=nan"], "--learning_rate must be above 0, got nan"),
        (["--distillation=nan"], "--distillation must be 0 to 1, got nan"),
        (["--temperature=0"], "--temperature must be above 0, got 0.0"),
        (["--setting=two_core"], "value should be one of <"),
        (["--devices=3"], "A batch of 64 cannot be split evenly over 3 devices"),
        (["--label_smoothing=1"], "--label_smoothing must be below 1, got 1.0"),
        (["--crop_scale=0"], "crop_scale must be above 0 and at most 1, got 0.0"),
        (["--randaugment=11"], "randaugment must be 0 to 10, got 11.0"),
        (["--mixup=-1"], "mixup must be 0 or more, got -1.0"),
        (["--resume"], "Say which run to resume"),
        (["digits"], "arguments without a flag: digits"),
        (["--hierarchy=a.json", "--network=plain"], "--network plain has no superclasses"),
        (["--fused", "--network=plain"], "--network plain has no branches: leave out --fused"),
        (["--fused", "--devices=2"], "--fused trains on one device only"),
        (["--features_dir=kept", "--devices=2"], "--features_dir is for trainings on one device"),
        (["--dataset=mnist"], "Unknown data set 'mnist'"),
        (["--family=resnet19"], "Unknown family 'resnet19'"),
        (["--plan=late"], "Unknown plan 'late'"),
        (["--width=-1"], "width must be a finite number above 0"),
        (["--image_size=4"], "is too small"),
    ],
)
def test_bad_flags(tmp_path, arguments, words):
    output = [] if arguments == ["--resume"] else [f"--output={tmp_path / 'run'}"]
    assert words in refused([*output, *arguments])
