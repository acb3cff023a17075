"""Every figure of the registry, drawn from small runs of its own experiment."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from analysis.drawing import style
from analysis.figures import FIGURES
from experiments.settings import entry_of
from tests.analysis.drawn import assert_legible
from tests.analysis.made import PAIRS, Outputs

ONE_NETWORK = ["network=resnet50", "weights.seed=0"]
FEWER = {
    "fig1": ["weights=random", "network=resnet50"],
    "fig2": ["network=resnet50,noresnet50"],
    "fig3": ["network=resnet50,vgg19", "weights.seed=0"],
    "fig3_pretrained": ["network=resnet50"],
    "fig3_batchnorm": ["network=resnet50", "weights.seed=0"],
    "fig3_trained": ["network=small_residual,small_no_shortcut"],
    "training_dynamics": ["network=small_residual,small_no_shortcut", "weights.at=0,0.1,1"],
    "family": ["network=small_residual,small_no_shortcut,small_vgg", "weights.seed=0,1"],
    "whack_a_mole": ["network=small_residual,small_leaky_relu"],
    "adain_gatys": ["measured_steps=[0,5,20]"],
    "decoders": ["generator=adain,adain_batch"],
    "decoder_weights": ["objective.style_weight=0.1,10"],
    "decoder_layers": ["objective.layers=1,3"],
    "decoder_losses": ["loss@objective.style=bn,gram", "arm=plain,softmax"],
    "in_bn": ["crop.look=photograph,stylized", "weights.seed=0,1"],
    "feedforward_swag": ["arm=plain,softmax", "measures=none"],
    "headline": ["arm=vgg16,plain,recolouring"],
    "fig6": ["network=vgg19,inception_v3"],
    "fig7": ["network=vgg19"],
    "reconstruction": ["network=vgg19"],
    "texture": ["network=vgg19"],
    "mechanism": [*ONE_NETWORK, "arm=plain,softmax", "objective.style_weight=1,100"],
    "mechanism_small": [*ONE_NETWORK, "arm=plain,softmax", "objective.style_weight=1"],
    "mechanism_style": ["network=resnet50", "weights.seed=0,1", "arm=plain,softmax"],
    "mechanism_trained": ["network=small_residual", "arm=plain,softmax"],
    "mechanism_zoo": [*ONE_NETWORK, "arm=plain,softmax"],
    "mechanism_pretrained": ["network=resnet50", "arm=plain,softmax"],
    "zoo": ["network=resnet50,noresnet50,shufflenet_v2_x0_5,convnext_tiny,maxvit_t", "weights.seed=0,1"],
    "chain": ["network=resnet50,chain_stem,pseudo_vgg", "weights.seed=0,1"],
    "chain_style": ["network=resnet50,chain_stem,pseudo_vgg", "weights.seed=0", "arm=plain,softmax"],
    "initialisations": ["weights.init=torchvision,orthogonal", "weights.seed=0,1"],
    "shortcut_dial": ["network=resnet50", "network.shortcut=0,1", "weights.seed=0"],
    "shortcut_dial_style": ["network.shortcut=0,1", "weights.seed=0"],
    "style_content_curve": ["network=resnet50", "objective.style_weight=1,1000"],
    "taps": ["objective.taps=1,5,style"],
    "demystifying_fig1": ["objective=bn,gram", "objective.layers=1,null"],
    "demystifying_fig2": ["objective=bn,mmd_linear", "objective.style_weight=1,5"],
    "demystifying_fig3": ["objective=bn,mmd_linear"],
    "demystifying_fig4": ["objective=bn_poly", "objective.style.weights=[1,0],[0,1]"],
}
"""A smaller sweep of an experiment, for quick tests."""

BESIDE = {"adain_gatys": "adain_pairs"}
"""Experiments whose runs a figure draws, too."""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory):
    made: dict[str, Outputs] = {}

    def of(experiment: str) -> Outputs:
        if experiment not in made:
            overrides = [f"experiment={experiment}", *FEWER.get(experiment, [])]
            entry = entry_of(experiment)
            options: dict[str, Any] = {"pairs": PAIRS[:2]} if entry == "stylize" else {}
            root = tmp_path_factory.mktemp(experiment)
            made[experiment] = Outputs.of(root, overrides, entry, **options)
            if (other := BESIDE.get(experiment)) is not None:
                Outputs.of(root, [f"experiment={other}"], entry_of(other), **options)
        return made[experiment]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_fits_its_page(name: str, outputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FIGURES[name]
    module = import_module(f"analysis.figures.{source.module}")
    overrides = [f"experiment={source.experiment}", *FEWER.get(source.experiment, [])]
    data = module.load(overrides, outputs(source.experiment).root, partial=False, **source.settings)
    made = module.make(data)
    for drawn in made.values() if isinstance(made, dict) else [made]:
        assert drawn.get_figwidth() == style.WIDTH
        assert_legible(drawn)
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)  # other tests write files
    assert ".csv" in {path.suffix for path in module.save(made, data, tmp_path, name)}
