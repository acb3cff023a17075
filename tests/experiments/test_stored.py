"""Run directories from someone else: whatever their config says, only code that `conf/` names runs."""

import copy
import json
import pickle
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml
from hydra import compose, initialize_config_dir

from experiments import train_classifier, train_feedforward, transfer
from experiments.config import checked
from experiments.export_decoder import write_decoder as export_decoder
from experiments.export_weights import write_weights as export_weights
from experiments.feedforward.trained import trained
from experiments.feedforward.training import FeedforwardExperiment
from experiments.settings import CONF
from swag_repro.errors import UserError, WeightsError
from swag_repro.runs.files import digests
from swag_repro.runs.records import all_runs, read_status
from swag_repro.weights import RunWeights
from tests.experiments.conftest import exit_status
from tests.feedforward.conftest import write_pictures
from tests.training.conftest import write_images

DECODER = [
    "network=small_no_shortcut", "network.builder.width=8", "recipe.steps=1", "recipe.batch_size=1",
    "crop.short=48", "crop.size=32", "images.size=32", "images.source.limit=1", "compute.workers=0",
    "shown=[]", "corpus=folder",
]  # fmt: skip

CLASSIFIER = [
    "data=folder", "data.size=16", "data.crop=pad", "network.builder.width=8", "recipe.batch_size=8",
    "recipe.epochs=1", "recipe.lr=0.05", "compute.workers=0", "name=family",
]  # fmt: skip

USED = ["content=chelsea", "style=edith", "images.resize=short", "images.size=32", "measures=none"]

MODULE = (
    "import pathlib\npathlib.Path({mark!r}).touch()\ndef build(**settings): pathlib.Path({mark!r}).touch()\n"
)

OWN = "from swag_repro.networks.small import small_resnet\ndef build(**settings): return small_resnet(**settings)\n"


class Payload:
    """What touches a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return type(self.mark).touch, (self.mark,)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The output folder with the training of a decoder and of a classifier."""
    root = tmp_path_factory.mktemp("honest")
    content, style = write_pictures(root / "content", 2), write_pictures(root / "style", 2, seed=1)
    corpus = [f"corpus.content={content}", f"corpus.style={style}"]
    output = [f"output={root / 'out'}", "tracking=disabled"]
    with pytest.MonkeyPatch.context() as patch:
        assert exit_status(train_feedforward.main, [*DECODER, *corpus, *output], patch) == 0
        data = f"data.path={write_images(root / 'data')}"
        assert exit_status(train_classifier.main, [*CLASSIFIER, data, *output], patch) == 0
    return root / "out"


@pytest.fixture
def copied(runs, tmp_path, monkeypatch):
    """A copy of these runs, as if it came from someone else; and a module that shows if it is imported."""
    (tmp_path / "evil_module.py").write_text(MODULE.format(mark=str(tmp_path / "mark")))
    (tmp_path / "payload.pkl").write_bytes(pickle.dumps(Payload(tmp_path / "mark")))
    monkeypatch.syspath_prepend(tmp_path)
    return shutil.copytree(runs, tmp_path / "out")


def record_of(output, experiment):
    [record] = [record for record in all_runs(output) if record.status.experiment == experiment]
    return record


def tamper(record, key, value):
    """Change a value of a stored config, and seal the run again."""
    config = copy.deepcopy(record.config)
    *path, name = key.split(".")
    node = config
    for part in path:
        node = node[part]
    node[name] = value
    (record.path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    sealed = replace(read_status(record.path), files=digests(record.path))
    (record.path / "status.json").write_text(sealed.to_json())


FILE = "{folder}/payload.pkl"
MARK = "{folder}/mark"

ATTACKS = {
    "a pickle by pandas": {"_target_": "pandas.io.pickle.read_pickle", "filepath_or_buffer": FILE},
    "a pickle by joblib": {"_target_": "joblib.load", "filename": FILE},
    "a pickle by torch": {"_target_": "torch.load", "f": FILE, "weights_only": False},
    "by numpy": {"_target_": "numpy.load", "file": FILE, "allow_pickle": True},
    "a folder": {"_target_": "os.mkdir", "path": MARK},
    "by positional arguments": {"_target_": "os.mkdir", "_args_": [MARK]},
    "a program": {"_target_": "subprocess.run", "args": ["touch", MARK]},
    "a shell": {"_target_": "os.system", "command": "touch {folder}/mark"},
    "python": {"_target_": "builtins.exec", "_args_": ["open('{folder}/mark', 'w')"]},
    "a script": {"_target_": "runpy.run_path", "path_name": "{folder}/evil_module.py"},
    "a module": {"_target_": "evil_module.build"},
    "an import alone": {"_target_": "evil_module.nothing_there"},
    "an attribute of ours": {"_target_": "swag_repro.weights.Path.touch", "_args_": [MARK]},
    "torch by ours": {"_target_": "swag_repro.weights.torch.load", "f": FILE, "weights_only": False},
    "a file of ours": {
        "_target_": "swag_repro.runs.files.write_text",
        "path": {"_target_": "pathlib.Path", "_args_": [MARK]},
        "text": "",
    },
    "deferred": {"_target_": "os.mkdir", "_partial_": True, "path": MARK},
    "nested": {
        "_target_": "swag_repro.networks.average_pooled",
        "_partial_": True,
        "builder": {"_target_": "os.mkdir", "path": MARK},
    },
    "in a list": {"_target_": "swag_repro.losses.Fusion", "losses": [{"_target_": "os.mkdir", "path": MARK}]},
    "in positional arguments": {
        "_target_": "swag_repro.smoothing.NoSmoothing",
        "_args_": [{"_target_": "os.mkdir", "path": MARK}],
    },
    "instantiate itself": {
        "_target_": "hydra.utils.instantiate",
        "_recursive_": False,
        "config": {"_target_": "os.mkdir", "path": MARK},
    },
    "an interpolation": "${{oc.decode:\"{{_target_: os.mkdir, path: '{folder}/mark'}}\"}}",
    "what launches": {"_target_": "experiments.command.CommandCallback"},
    "a list for a target": {"_target_": ["os.mkdir"], "path": MARK},
}

PLACES = {"train_feedforward": ["generator", "objective.style"], "train_classifier": ["recipe"]}
for places in PLACES.values():
    places += ["network.builder", "weights", "network.shortcut"]


def filled(node, folder):
    if isinstance(node, dict):
        return {key: filled(value, folder) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, folder) for value in node]
    return node.format(folder=folder) if isinstance(node, str) else node


def refused_by(place, call, output, entry, record):
    if entry == "train_feedforward":
        status, printed = call(transfer.main, f"run={record.path.name}", *USED)
        assert status == 1, place
        assert "Traceback" not in printed
        with pytest.raises(WeightsError) as refusal:
            export_decoder(record.path, output / "exported")
        return printed.replace("\n", " "), str(refusal.value)
    with pytest.raises(WeightsError) as refusal:
        export_weights(output, "family", output / "exported")
    return (str(refusal.value),)


@pytest.mark.parametrize("entry", PLACES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_config_runs_nothing(call, copied, tmp_path, attack, entry):
    record = record_of(copied, entry)
    places = PLACES[entry] if attack == "a folder" else ["network.builder"]
    for place in places:
        tamper(record, place, filled(ATTACKS[attack], tmp_path))
        for message in refused_by(place, call, copied, entry, record):
            assert "`run` should" in message
            assert "conf/ names" in message or "interpolations" in message
        assert not (tmp_path / "mark").exists()
        shutil.copy(record.path / "config.yaml", tmp_path)
        tamper(record, place, None)


def test_a_name_of_a_network_is_no_path(copied, tmp_path):
    tamper(record_of(copied, "train_classifier"), "network.name", "../escaped")
    export_weights(copied, "family", tmp_path / "below" / "exported")
    assert not list((tmp_path / "below").glob("escaped*"))
    assert (tmp_path / "below" / "exported" / ".._escaped-0.safetensors").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [("weights._partial_", True), ("compute", 3), ("generator", None), ("network.taps", {"conv1": 3})],
)
def test_a_config_that_can_t_be_built_is_an_error(call, copied, key, value):
    record = record_of(copied, "train_feedforward")
    tamper(record, key, value)
    status, printed = call(transfer.main, f"run={record.path.name}", *USED)
    assert status == 1
    assert "error:" in printed
    assert "Traceback" not in printed


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "nonsense": lambda path: path.write_bytes(b"\x00\xff{[nonsense"),
    "a list": lambda path: path.write_text("[]"),
    "other keys": lambda path: path.write_text('{"schema": 3}'),
    "gone": lambda path: path.unlink(),
    "a folder": make_folder,
}


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_files_of_a_run_that_are_damaged_or_foreign_are_one_message(copied, tmp_path, damage, is_sealed):
    decoder, classifier = (
        record_of(copied, entry).path for entry in ("train_feedforward", "train_classifier")
    )
    with initialize_config_dir(str(CONF), version_base="1.3"):
        beside = checked(compose("transfer", [*USED, f"output={copied}", f"run={decoder.name}"]), "transfer")
    readers = {
        decoder: [
            lambda: trained(decoder.name, beside, FeedforwardExperiment).network(),
            lambda: export_decoder(decoder, tmp_path / "exported"),
        ],
        classifier: [lambda: export_weights(copied, "family", tmp_path / "exported")],
    }
    for run, read in readers.items():
        for name in ("status.json", "config.yaml", "identity.json", "weights.safetensors"):
            kept = shutil.copytree(run, tmp_path / "kept")
            DAMAGES[damage](run / name)
            if is_sealed and name != "status.json":
                sealed = replace(read_status(run), files=digests(run))
                (run / "status.json").write_text(sealed.to_json())
            for one in read if name != "identity.json" else read[-1:]:
                with pytest.raises(UserError) as refusal:
                    one()
                assert "\n" not in str(refusal.value)
            shutil.rmtree(run)
            kept.rename(run)


@pytest.mark.parametrize("run", ["..", "", "/etc/passwd", "a" * 300, "nowhere", "{classifier}", "{file}"])
def test_what_is_no_training_of_a_decoder_is_refused(copied, run):
    (copied / "runs" / "file").write_text("a file")
    run = run.format(classifier=record_of(copied, "train_classifier").path.name, file="file")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        beside = checked(compose("transfer", [*USED, f"output={copied}"]), "transfer")
    with pytest.raises(WeightsError, match="`run` should be"):
        trained(run, beside, FeedforwardExperiment)


def test_an_identity_that_has_other_keys_is_no_training(copied):
    identity = record_of(copied, "train_classifier").path / "identity.json"
    weights = RunWeights(run=None, seed=0, at=None, output=str(copied), name="run")
    network = SimpleNamespace(name="small_residual")
    assert weights.file(network).path.endswith("weights.safetensors")
    content = json.loads(identity.read_text())
    for config in ({}, [], None, {"network": "x", "seed": 0}):
        identity.write_text(json.dumps(content | {"config": config}))
        with pytest.raises(WeightsError, match="should be given unless there is one finished training"):
            weights.file(network)


def test_honest_runs_work(call, copied, tmp_path):
    status, printed = call(transfer.main, f"run={record_of(copied, 'train_feedforward').path.name}", *USED)
    assert status == 0, printed
    export_weights(copied, "family", tmp_path / "exported")
    assert (tmp_path / "exported" / "small_residual-0.safetensors").exists()


def test_what_the_command_s_own_files_name_is_built(call, copied, tmp_path):
    (tmp_path / "own_networks.py").write_text(OWN)
    record = record_of(copied, "train_feedforward")
    tamper(record, "network.builder._target_", "own_networks.build")
    chosen = [f"run={record.path.name}", *USED]
    status, printed = call(transfer.main, *chosen)
    assert status == 1
    assert "--config-dir=my/conf" in printed.replace("\n", " ")
    own = tmp_path / "conf" / "network" / "own.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("builder: {_target_: own_networks.build}\n")
    for flags in ([], ["-m"]):
        status, printed = call(
            transfer.main, *flags, f"--config-dir={tmp_path / 'conf'}", *chosen, "force=true"
        )
        assert status == 0, printed
    export_decoder(record.path, tmp_path / "exported", tmp_path / "conf")


def test_a_training_of_an_older_version_is_to_be_trained_anew(call, copied):
    record = record_of(copied, "train_feedforward")
    tamper(record, "generator._target_", "swag_repro.transfer.AdaIN")
    status, printed = call(transfer.main, f"run={record.path.name}", *USED)
    assert status == 1
    assert "older version" in printed
    assert "train it anew" in printed.replace("\n", " ")
