"""The experiment `judge`: another judge measures the finished pictures of a stylisation."""

from __future__ import annotations

from typing import Any

from experiments.config import Config
from experiments.pictures.judging import Judging
from experiments.results import refuse_save
from experiments.stylization.stylization import Stylization
from swag_repro.measures import WeightedNetwork


class StylizationJudging(Judging):
    """The judgement of the stylisation that a config describes."""

    reads = Stylization.reads

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the judgement that this config describes."""
        refuse_save(config.save, "a judgement")
        judged = Stylization.build(config)
        network = WeightedNetwork(judged.architecture, judged.weights)
        return {**super().parts(config), "judged": judged, "network": network}
