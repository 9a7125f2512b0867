"""Settings of torchvision's detectors, and what its own generators make of them."""

from edgecnn.tasks import anchors

SSD300 = {
    "strides": [8, 16, 32, 64, 100, 300],
    "steps": [8, 16, 32, 64, 100, 300],
    "ratios": [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
    "scales": [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
}
SSDLITE = {
    "strides": [16, 32, 64, 128, 256, 512],
    "ratios": [[2, 3]] * 6,
    "scales": [*(0.2 + 0.75 * level / 5 for level in range(6)), 1.0],
}
RETINANET = {
    "strides": [8, 16, 32, 64, 128],
    "sizes": [[side, int(side * 2 ** (1 / 3)), int(side * 2 ** (2 / 3))] for side in (32, 64, 128, 256, 512)],
    "ratios": [0.5, 1.0, 2.0],
}
FCOS = {"strides": [8, 16, 32, 64, 128], "sizes": [8, 16, 32, 64, 128]}


def of_torchvision(generator, settings, size):
    """What a generator of torchvision's makes for an input of a size."""
    import torch
    from torchvision.models.detection.image_list import ImageList

    maps = [torch.zeros(1, 1, *grid) for grid in anchors.grids(settings, size)]
    return generator(ImageList(torch.zeros(1, 3, *size), [tuple(size)]), maps)[0].numpy()
