"""Content and style images: they are bundled or the user's own, read, resized, and made into tensors."""

from swag_repro.images.colors import grey, luminance, match_colors, match_luminance, with_luminance_of
from swag_repro.images.files import Picture, Role, existing
from swag_repro.images.sets import bundled, folder
from swag_repro.images.tensors import Resize, batches, load_image, load_mask, save_png, to_pil

__all__ = [
    "Picture",
    "Resize",
    "Role",
    "batches",
    "bundled",
    "existing",
    "folder",
    "grey",
    "load_image",
    "load_mask",
    "luminance",
    "match_colors",
    "match_luminance",
    "save_png",
    "to_pil",
    "with_luminance_of",
]
