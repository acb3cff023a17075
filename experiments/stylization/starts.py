"""The images at which the optimisation of a batch starts, at its first scale and at finer ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from experiments.pictures.batches import PairBatch, to_size
from experiments.pictures.pairs import Pair, file_picture
from swag_repro.images import Picture, Resize, load_image, match_colors
from swag_repro.networks.architecture import IMAGENET_MEAN
from swag_repro.optimisation.canvas import finest_level

STARTS = ("content", "noise", "grey", "style", "laplacian", "recoloured", "histogram")
GREY_NOISE = 0.1 / 256  # Demystifying, authors' code


def start_picture(start: str) -> Picture | None:
    """Return the picture of a file at which an optimisation starts; None if `start` is one of `STARTS`.

    Raises:
        ImageError: `start` is neither one of them nor an image file.
    """
    return None if start in STARTS else file_picture("start", start, role="content", known=STARTS)


def start_of(batch: PairBatch, start: str, *, noise: float, seed: int, picture: Picture | None) -> Tensor:
    """Return the images at which the optimisation of a batch starts, `(B, 3, H, W)`.

    Args:
        batch: The batch as the objective sees it.
        start: One of `STARTS`, else a file.
        noise: The standard deviation of the added normal noise.
        seed: The seed of all noise.
        picture: The picture of that file; None for one of `STARTS`.
    """
    size = batch.contents.shape[2:]
    if picture is not None:
        image = load_image(picture, Resize(size=max(size), policy="squash", interpolation="lanczos"))[None]
        images = to_size(image, size).expand(len(batch.pairs), -1, -1, -1)
        return _disturbed(batch, images, noise, seed)
    starts: Mapping[str, Callable[[], Tensor]] = {
        "content": lambda: batch.contents,
        "noise": lambda: torch.stack([_noise(pair, seed, size) for pair in batch.pairs]),
        "grey": lambda: torch.stack([_grey(pair, seed, size) for pair in batch.pairs]),
        "style": lambda: torch.cat([to_size(mixed[0].image[None], size) for mixed in batch.styles]),
        "laplacian": lambda: _mean_colors(batch) + finest_level(batch.contents),
        "recoloured": lambda: _matched(batch, match_colors),
        "histogram": lambda: _matched(batch, _match_histograms),
    }
    return _disturbed(batch, starts[start](), noise, seed)


def _disturbed(batch: PairBatch, images: Tensor, noise: float, seed: int) -> Tensor:
    images = images.to(batch.contents.device)
    if not noise:
        return images
    shape = images.shape[1:]
    normal = [torch.randn(shape, generator=_generator(pair, seed)) for pair in batch.pairs]
    return images + noise * torch.stack(normal).to(images)


def restart_of(batch: PairBatch, start: str, before: Tensor, *, last: bool) -> Tensor:
    """Return the images at which a finer scale starts: those of the coarser one, `(B, 3, h, w)`, enlarged.

    As in STROTSS, `laplacian` adds the content's finest details, except at the last scale.
    """
    enlarged = batch.resized(before)
    return enlarged + finest_level(batch.contents) if start == "laplacian" and not last else enlarged


def _matched(batch: PairBatch, match: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the contents with colours that match those of the (first) style."""
    pairs = zip(batch.contents, batch.styles, strict=True)
    return torch.stack([match(content, mixed[0].image) for content, mixed in pairs])


def _match_histograms(content: Tensor, style: Tensor) -> Tensor:
    """Return the content with the histograms of the style's colour channels."""
    from skimage.exposure import match_histograms  # here: only this start needs it, and SciPy

    matched = match_histograms(content.cpu().numpy(), style.cpu().numpy(), channel_axis=0)
    return torch.from_numpy(matched).to(content)


def _mean_colors(batch: PairBatch) -> Tensor:
    """Return the mean colours of the styles, `(B, 3, 1, 1)`; a mix takes its first style."""
    return torch.stack([mixed[0].image.mean(dim=(1, 2), keepdim=True) for mixed in batch.styles])


def _grey(pair: Pair, seed: int, size: Sequence[int]) -> Tensor:
    """Return ImageNet's mean colour with faint noise, `(3, H, W)`."""
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    return mean + GREY_NOISE * (2 * _noise(pair, seed, size) - 1)


def _noise(pair: Pair, seed: int, size: Sequence[int]) -> Tensor:
    return torch.rand(3, *size, generator=_generator(pair, seed))


def _generator(pair: Pair, seed: int) -> torch.Generator:
    # The pair's name seeds its noise, so the noise does not depend on the pair's neighbours.
    of_pair = int(hashlib.sha256(f"{seed} {pair.name}".encode()).hexdigest()[:15], 16)
    return torch.Generator().manual_seed(of_pair)
