import hashlib
import http.server
import re
import threading

import pytest
import torch
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from swag_repro.errors import SettingError, WeightsError
from swag_repro.networks import Architecture
from swag_repro.weights import FileWeights, ImageNetWeights
from tests.parts import RandomWeights


class Small(nn.Module):
    def __init__(self, width=4, classes=10):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, classes)


def architecture(builder=Small, **settings):
    settings = {"head": ["fc"], **settings}
    return Architecture(
        name="small", label="Small", builder=builder, taps={"conv1": "conv"}, style_taps=["conv1"],
        content_tap="conv1", statistic_taps=["conv1"], **settings,
    )  # fmt: skip


def saved(path, state):
    torch.save(state, path)
    return FileWeights(path=str(path))


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, same, other = (RandomWeights(seed=seed).build(architecture()).conv.weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_initialisations_are_what_their_names_say():
    def wide():
        return nn.Sequential(nn.Conv2d(64, 256, 3))

    def std(init):
        return RandomWeights(seed=0, init=init).build(architecture(wide))[0].weight.std().item()

    assert std("kaiming_normal_fan_out") == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert std("kaiming_normal_fan_in") == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.01)
    assert std("xavier_normal") == pytest.approx((2 / ((64 + 256) * 9)) ** 0.5, rel=0.01)
    matrix = RandomWeights(seed=0, init="orthogonal").build(architecture(wide))[0].weight.flatten(1)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(256), rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [{"init": "magic"}, {"seed": "abc"}, {"seed": -1}])
def test_bad_random_settings(settings):
    with pytest.raises(SettingError, match=f"weights.{next(iter(settings))}"):
        RandomWeights(**{"seed": 0, **settings})


def test_a_file_round_trip(tmp_path):
    network = Small()
    loaded = saved(tmp_path / "all.pth", network.state_dict()).build(architecture())
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("wrapper", ["state_dict", None])
def test_a_missing_or_other_head_is_fine(tmp_path, wrapper):
    state = Small(classes=2).state_dict()
    for head in ({"fc.weight": state["fc.weight"], "fc.bias": state["fc.bias"]}, {}):
        body = {key: value for key, value in state.items() if not key.startswith("fc")} | head
        content = {wrapper: body, "epoch": 3} if wrapper else body
        loaded = saved(tmp_path / "headless.pth", content).build(architecture())
        assert torch.equal(loaded.conv.weight, state["conv.weight"])
        assert loaded.fc.out_features == 10


def test_half_precision_files_become_float32(tmp_path):
    state = {key: value.half() for key, value in Small().state_dict().items()}
    assert saved(tmp_path / "half.pth", state).build(architecture()).conv.weight.dtype == torch.float32


def test_another_networks_file_lists_the_keys(tmp_path):
    weights = saved(tmp_path / "resnet.pth", {"layer1.weight": torch.zeros(2), **Small(width=5).state_dict()})
    with pytest.raises(
        WeightsError, match=r"unexpected: layer1.weight.*another shape: conv.weight \(5, 3, 3, 3\)"
    ):
        weights.build(architecture())
    with pytest.raises(WeightsError, match="missing: conv.weight, conv.bias"):
        saved(tmp_path / "partial.pth", {"norm.weight": torch.ones(4)}).build(architecture())


def test_a_head_is_missing_only_where_the_architecture_says(tmp_path):
    state = {key: value for key, value in Small().state_dict().items() if not key.startswith("fc")}
    with pytest.raises(WeightsError, match="missing: fc.weight, fc.bias"):
        saved(tmp_path / "headless.pth", state).build(architecture(head=[]))


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", b"\x80\x04.", "directory", [1, 2], {"conv.weight": "text"}, Malicious()]
)
def test_files_that_are_no_state_dict(tmp_path, content, capsys):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "directory":
        path.mkdir()
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError, match="weights.path"):
        FileWeights(path=str(path)).build(architecture())
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_of_safetensors(tmp_path, name):
    """It is known by its content, whatever its name; a damaged one is told as any other."""
    save_file = pytest.importorskip("safetensors.torch").save_file
    state = RandomWeights(seed=3).build(architecture()).state_dict()
    save_file(state, tmp_path / name)
    loaded = FileWeights(path=str(tmp_path / name)).build(architecture()).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[:-100], whole[:9] + b"nonsense" + whole[17:]):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(WeightsError, match="or of safetensors; found SafetensorError on loading it"):
            FileWeights(path=str(tmp_path / name)).build(architecture())


def test_a_truncated_file(tmp_path):
    weights = saved(tmp_path / "weights.pth", Small().state_dict())
    whole = (tmp_path / "weights.pth").read_bytes()
    (tmp_path / "weights.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="weights.path"):
        weights.build(architecture())


def test_a_missing_file():
    with pytest.raises(WeightsError, match=r"`weights.path` should be a readable file; found nowhere.pth"):
        FileWeights(path="nowhere.pth").digest(architecture())


def test_sha256_of_a_file_is_checked(tmp_path):
    weights = saved(tmp_path / "weights.pth", Small().state_dict())
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    assert weights.digest(architecture()) == digest
    assert FileWeights(path=weights.path, sha256=digest.upper()).build(architecture())
    with pytest.raises(WeightsError, match=f"found {digest}"):
        FileWeights(path=weights.path, sha256="0" * 64).build(architecture())


@pytest.fixture
def download(tmp_path, monkeypatch):
    """torchvision's own download of ResNet-18, from a server of this machine's."""
    torch.manual_seed(3)
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    content = (tmp_path / "resnet18.pth").read_bytes()
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"

    class Handler(http.server.BaseHTTPRequestHandler):
        served = content

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.served)))
            self.end_headers()
            self.wfile.write(self.served)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(
        ResNet18_Weights.IMAGENET1K_V1.value, "url", f"http://127.0.0.1:{server.server_port}/{name}"
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    yield Handler, tmp_path / "torch" / "hub" / "checkpoints" / name
    server.shutdown()
    server.server_close()


def resnet(**settings):
    return architecture(resnet18, **{"imagenet": "ResNet18_Weights.IMAGENET1K_V1", **settings})


def test_imagenet_weights_are_downloaded_once_and_loaded(download, capsys):
    handler, cached = download
    network = ImageNetWeights().build(resnet())
    torch.manual_seed(3)
    assert torch.equal(network.conv1.weight, resnet18().conv1.weight)
    assert re.search(r"100(\.0)?%", capsys.readouterr().err)
    handler.served = b"gone"
    assert torch.equal(ImageNetWeights().build(resnet()).conv1.weight, network.conv1.weight)
    assert ImageNetWeights().digest(resnet()) == cached.stem.removeprefix("resnet18-")


def test_a_corrupt_download_leaves_nothing(download):
    handler, cached = download
    handler.served = handler.served[:-1] + b"x"
    with pytest.raises(WeightsError, match="invalid hash value"):
        ImageNetWeights().build(resnet())
    assert not cached.exists()


def test_a_corrupt_file_in_the_cache_is_found(download):
    _, cached = download
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half a download")
    with pytest.raises(WeightsError, match=f"should have the sha256 .* Delete {cached}"):
        ImageNetWeights().build(resnet())


def test_an_impossible_download_says_what_to_do(download, monkeypatch):
    _, cached = download
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", f"http://127.0.0.1:9/{cached.name}")
    with pytest.raises(WeightsError, match=f"put it at {cached}, or use weights=random or weights=file"):
        ImageNetWeights().build(resnet())


def test_no_imagenet_weights_for_a_control():
    with pytest.raises(WeightsError, match="can't be imagenet for small"):
        ImageNetWeights().build(architecture())
