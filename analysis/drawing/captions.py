"""Stylisations in the words of a caption: what was minimised and how, by which networks, judged by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from analysis.drawing import labels
from analysis.stylizations import Arm, Stylizations, fused_weights

LETTERS = 145
"""Of one line of a caption."""

STARTS = {
    "content": "the content",
    "style": "the style",
    "noise": "noise",
    "laplacian": "the content's details on the style's mean colour",
}


BALANCES = {
    "sides": "content and style in units of their distance between the two images",
    "layers": "each layer in units of its own distance between the two images",
}


def lines(*said: str) -> str:
    """Each on lines of its own."""
    return "\n".join(fill(text, LETTERS) for text in said)


def arms(data: Stylizations, varied: Sequence[str] = ()) -> str:
    """Networks, weights, smoothings and objectives; for `varied`, see `objective`."""
    network = data.arms[0].network
    alike = f" All in {network}." if network not in data.arms[0].label else ""
    smoothings = labels.smoothings(data.tables.runs)
    marks = f" {smoothings};" if smoothings else ""
    return f"{alike} {weights(data.arms)};{marks} {objective(data.arms, varied)}. {size(data)}".lstrip()


def size(data: Stylizations) -> str:
    """Of the images: one for all arms, or several."""
    return f"Images: {labels.sizes(data.tables.runs)}."


def weights(arms: Iterable[Arm]) -> str:
    """What stands behind each prefix: one word where all networks have the same weights."""
    told: dict[str, dict[str, str]] = {}
    for arm in arms:
        prefix = labels.PREFIX[arm.config["weights"]["name"]]
        told.setdefault(prefix, {})[arm.config["network"]["label"]] = arm.weights
    return "; ".join(
        f"{prefix}: {next(iter(used.values()))}"
        if len(set(used.values())) == 1
        else f"{prefix}: " + ", ".join(f"{weights} ({network})" for network, weights in used.items())
        for prefix, used in told.items()
    )


def objective(arms: Sequence[Arm], varied: Sequence[str] = ()) -> str:
    """The objective and the optimisation.

    Args:
        arms: At least one.
        varied: Settings that the figure itself shows, such as `objective.style_weight`.
    """
    minimised = _kinds(arms, lambda arm: _loss(arm, varied), lambda arm: _weights(arm, varied))
    said = (
        f"{' / '.join(losses)} loss{'es' if len(losses) > 1 else ''}: {told}"
        for told, losses in minimised.items()
    )
    runs = _kinds(arms, lambda arm: str(arm.config["objective"]["label"]), _run)
    by = (f"{' / '.join(losses)}: {told}" for told, losses in runs.items())
    return f"{' | '.join(said)}; {' | '.join(by) if len(runs) > 1 else next(iter(runs))}"


def _kinds(
    arms: Sequence[Arm], name: Callable[[Arm], str], tell: Callable[[Arm], str]
) -> dict[str, dict[str, None]]:
    """All different things told of arms, and the names of those they hold for, in order."""
    kinds: dict[str, dict[str, None]] = {}
    for arm in arms:
        kinds.setdefault(tell(arm), {})[name(arm)] = None
    return kinds


def _loss(arm: Arm, varied: Sequence[str]) -> str:
    told = arm.config["objective"]
    side, name = ("style", str(told["label"])) if told["style_weight"] else ("content", "Content")
    details = []
    if told["balance"] == "none" and (normalizer := told[side].get("normalizer")):  # else it cancels
        details.append(f"{normalizer.replace('_', ' ')} normaliser")
    if side == "style" and "objective.style.weights" not in varied and (fused := fused_weights(told)):
        details.append(f"weights {_numbers(fused)}")
    return name + (f" ({', '.join(details)})" if details else "")


def _weights(arm: Arm, varied: Sequence[str]) -> str:
    told = arm.config["objective"]
    parts = [*_sides(told, varied)]
    if told["total_variation_weight"]:
        parts.append(f"total variation weight {told['total_variation_weight']:g}")
    if told["content_weight"] and told["style_weight"] and told["tap_weights"] != 1:
        parts.append(f"layers weighted {_numbers(told['tap_weights'])}")
    if told["content_weight"] and told["content_layer"] is not None:
        parts.append(
            f"content at style layer {told['content_layer']} of {len(arm.config['network']['style_taps'])}"
        )
    if told["style_weight"] and told["layers"] is not None and "objective.layers" not in varied:
        parts.append(f"style at the {told['layers']} shallowest layers")
    if told["balance"] in BALANCES:
        parts.append(BALANCES[told["balance"]])
    return ", ".join(parts)


def _numbers(told: float | Sequence[float]) -> str:
    """One number, or several: `0.2`, `0.5/0.5`."""
    return "/".join(f"{number:g}" for number in (told if isinstance(told, Sequence) else [told]))


def _sides(told: dict[str, Any], varied: Sequence[str]) -> Iterator[str]:
    if not (told["content_weight"] and told["style_weight"]):
        yield "content only" if told["content_weight"] else "style only"
        return
    decay = told["content_decay"]
    yield f"content weight {told['content_weight']:g}" + (f" (times {decay:g} a scale)" if decay != 1 else "")
    if "objective.style_weight" not in varied:
        yield f"style weight {told['style_weight']:g}"


def _run(arm: Arm) -> str:
    config, stop = arm.config, arm.config["stop"]
    most = f"at most {config['steps']} steps"
    most += f" and {config['evaluations']} evaluations" if config["evaluations"] else ""
    if (scales := len(config["scales"])) > 1:
        most += f" at each of {f'up to {scales}' if config['coarsest'] else scales} scales"
    start = STARTS.get(config["start"]) or f"the {Path(config['start']).name}"
    said = f"{most} of {_optimizer(config)}{_canvas(config)} from {start}"
    if stop["change"] is not None:
        said += f", until the loss changes by less than {100 * stop['change']:g} % in {stop['every']} steps"
    return said


def _optimizer(config: dict[str, Any]) -> str:
    return str(config["optimizer"]["_target_"]).rsplit(".", 1)[-1].replace("LBFGS", "L-BFGS")


def _canvas(config: dict[str, Any]) -> str:
    return " on a Laplacian pyramid" if config["canvas"]["_target_"].endswith("LaplacianPyramid") else ""


def held_out(data: Stylizations) -> str:
    """Which network measured, and where there are several, whose pictures."""
    judges = data.judges
    if len(judges) == 1:
        return next(iter(judges))
    return "; ".join(f"{judge} for {', '.join(networks)}" for judge, networks in judges.items())


def warnings(data: Stylizations) -> Iterator[str]:
    """What a reader of the measures must know."""
    if len(data.judges) > 1:
        yield "Numbers by different held-out networks do not compare."
    if data.table["random"].any():
        yield "Caution: a held-out network with random weights is a weak judge of style and content."
    if unjudged := data.tables.unjudged:
        many = f"{unjudged} of {len(data.arms)}"
        yield f"–: {many} cells are not judged. This judges them: {data.tables.judging}"
