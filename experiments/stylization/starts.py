"""Where the optimisation of a batch starts, at its first scale and at finer ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from experiments.pictures.batches import Batch, to_size
from experiments.pictures.pairs import Pair, file_picture
from swag_repro.images import Picture, Resize, load, match_colors
from swag_repro.networks.architecture import IMAGENET_MEAN
from swag_repro.transfer.canvas import finest_level

STARTS = ("content", "noise", "grey", "style", "laplacian", "recoloured")
GREY_NOISE = 0.1 / 256  # Demystifying, authors' code


def start_picture(start: str) -> Picture | None:
    """Return the picture that an optimisation starts from; None where `start` is one of `STARTS`.

    Raises:
        ImageError: It is neither one of them nor an image file.
    """
    return None if start in STARTS else file_picture("start", start, role="content", known=STARTS)


def start_of(batch: Batch, start: str, *, noise: float, seed: int, picture: Picture | None) -> Tensor:
    """Where the optimisation of a batch starts: `(B, 3, H, W)`.

    Args:
        batch: as the objective sees it.
        start: one of `STARTS`, else a file.
        noise: standard deviation of normal noise that is added.
        seed: of all noise.
        picture: that file.
    """
    size = batch.contents.shape[2:]
    if picture is not None:
        image = load(picture, Resize(size=max(size), policy="squash", interpolation="lanczos"))[None]
        images = to_size(image, size).expand(len(batch.pairs), -1, -1, -1)
        return _disturbed(batch, images, noise, seed)
    starts: Mapping[str, Callable[[], Tensor]] = {
        "content": lambda: batch.contents,
        "noise": lambda: torch.stack([_noise(pair, seed, size) for pair in batch.pairs]),
        "grey": lambda: torch.stack([_grey(pair, seed, size) for pair in batch.pairs]),
        "style": lambda: torch.cat([to_size(mixed[0].image[None], size) for mixed in batch.styles]),
        "laplacian": lambda: _mean_colors(batch) + finest_level(batch.contents),
        "recoloured": lambda: _recoloured(batch),
    }
    return _disturbed(batch, starts[start](), noise, seed)


def _disturbed(batch: Batch, images: Tensor, noise: float, seed: int) -> Tensor:
    images = images.to(batch.contents.device)
    if not noise:
        return images
    shape = images.shape[1:]
    normal = [torch.randn(shape, generator=_generator(pair, seed)) for pair in batch.pairs]
    return images + noise * torch.stack(normal).to(images)


def restart_of(batch: Batch, start: str, before: Tensor, *, last: bool) -> Tensor:
    """Where a finer scale starts: at the coarser one's images, `(B, 3, h, w)`, enlarged.

    STROTSS adds the content's finest details, but at the last scale.
    """
    enlarged = batch.resized(before)
    return enlarged + finest_level(batch.contents) if start == "laplacian" and not last else enlarged


def _recoloured(batch: Batch) -> Tensor:
    """Return the contents with mean and covariance of their style's colours; of a mix, the first style's."""
    pairs = zip(batch.contents, batch.styles, strict=True)
    return torch.stack([match_colors(content, mixed[0].image) for content, mixed in pairs])


def _mean_colors(batch: Batch) -> Tensor:
    """`(B, 3, 1, 1)`; of a mix, the first style's."""
    return torch.stack([mixed[0].image.mean(dim=(1, 2), keepdim=True) for mixed in batch.styles])


def _grey(pair: Pair, seed: int, size: Sequence[int]) -> Tensor:
    """ImageNet's mean colour with faint noise."""
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    return mean + GREY_NOISE * (2 * _noise(pair, seed, size) - 1)


def _noise(pair: Pair, seed: int, size: Sequence[int]) -> Tensor:
    return torch.rand(3, *size, generator=_generator(pair, seed))


def _generator(pair: Pair, seed: int) -> torch.Generator:
    # By the pair's name, so that its noise doesn't depend on its neighbours.
    of_pair = int(hashlib.sha256(f"{seed} {pair.name}".encode()).hexdigest()[:15], 16)
    return torch.Generator().manual_seed(of_pair)
