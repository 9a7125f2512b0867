import numpy as np
import pytest
import torch

from edgecnn.compress.train.mixing import mix


def batch(count: int):
    """Images that are one number, and their targets, different for each."""
    images = torch.arange(1.0, count + 1)[:, None, None, None].expand(count, 3, 10, 20).clone()
    return images, torch.eye(count)


def test_without_strength_nothing_is_changed():
    images, targets = batch(4)
    mixed, wanted = mix(images, targets, np.random.default_rng(0), mixup=0, cutmix=0)
    assert mixed is images and wanted is targets


@pytest.mark.parametrize("strengths", [{"mixup": 1.0, "cutmix": 0.0}, {"mixup": 0.0, "cutmix": 1.0}])
def test_the_target_is_mixed_as_the_pixels_are(strengths):
    images, targets = batch(6)
    numbers = images[:, 0, 0, 0]
    seen = set()
    for seed in range(20):
        mixed, wanted = mix(images, targets, np.random.default_rng(seed), **strengths)
        torch.testing.assert_close(mixed.mean((1, 2, 3)), wanted @ numbers)
        torch.testing.assert_close(wanted.sum(1), torch.ones(6))
        assert (wanted > 0).sum(1).max() <= 2
        seen.add(round(float(wanted[0, 0]), 3))
    assert len(seen) > 10


def test_cutmix_pastes_one_box_of_the_partner():
    images, targets = batch(2)
    mixed, _ = mix(images, targets, np.random.default_rng(3), mixup=0, cutmix=1.0)
    pasted = mixed[0, 0] == 2
    rows, columns = pasted.any(1).nonzero(), pasted.any(0).nonzero()
    box = pasted[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert 0 < pasted.sum() < pasted.numel() and box.all()
    assert set(mixed[1].unique().tolist()) == {1.0, 2.0}


def test_two_halves_of_a_batch_are_mixed_as_the_whole_is():
    images, targets = batch(8)
    whole = mix(images, targets, np.random.default_rng(5), mixup=0.4, cutmix=1.0)
    halves = [
        mix(images[part], targets[part], np.random.default_rng(5), mixup=0.4, cutmix=1.0)
        for part in (slice(0, 4), slice(4, 8))
    ]
    for index in range(2):
        torch.testing.assert_close(whole[index], torch.cat([half[index] for half in halves]))


def test_a_last_image_without_a_partner_stays():
    images, targets = batch(3)
    mixed, wanted = mix(images, targets, np.random.default_rng(0), mixup=1.0, cutmix=0)
    assert torch.equal(mixed[2], images[2]) and torch.equal(wanted[2], targets[2])
