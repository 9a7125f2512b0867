import pytest
import torch
from torch import nn

from edgecnn import zoo
from edgecnn.compress.prune.sparsity import SparsityMask, is_2_4, mask_2_4
from edgecnn.errors import InvalidValueError, PruningError
from edgecnn.export.fold_batch_norm import fold_batch_norm
from edgecnn.targets import target


def test_the_two_largest_of_four_inputs_stay():
    weight = torch.tensor([[1.0, -4.0, 2.0, 3.0, 0.0, 0.0, 5.0, -0.1]])
    assert mask_2_4(weight).tolist() == [[False, True, False, True, False, False, True, True]]


def test_equal_weights_lose_exactly_two():
    assert mask_2_4(torch.ones(3, 8, 3, 3)).sum(1).eq(4).all()


def test_every_filter_position_has_fours_of_its_own():
    weight = torch.zeros(1, 4, 1, 2)
    weight[0, :, 0, 0], weight[0, :, 0, 1] = torch.tensor([4, 3, 2, 1]), torch.tensor([1, 2, 3, 4])
    mask = mask_2_4(weight)
    assert mask[0, :, 0, 0].tolist() == [True, True, False, False]
    assert mask[0, :, 0, 1].tolist() == [False, False, True, True]


def test_zeros_along_the_filter_do_not_count():
    weight = torch.ones(4, 4, 2, 2)
    weight[:, :, 0] = 0  # half of all weights, but of no four inputs at the other positions
    assert not is_2_4(weight)


def test_the_mask_of_a_sparse_weight_keeps_it():
    torch.manual_seed(0)
    weight = torch.randn(8, 16, 3, 3)
    sparse = weight * mask_2_4(weight)
    assert is_2_4(sparse) and not is_2_4(weight)
    assert torch.equal(sparse * mask_2_4(sparse), sparse)


def test_inputs_that_are_no_fours_are_refused():
    with pytest.raises(InvalidValueError, match="fours"):
        mask_2_4(torch.ones(4, 6))


def test_layers_that_cannot_be_sparse_are_named():
    network = zoo.create("mobilenet_v2", alpha=0.25, num_classes=10, resolution=32)
    mask = SparsityMask.by_magnitude(network)
    modules = dict(network.named_modules())
    assert mask.dense["features.0.0"] == "3 input channels do not fall into fours"
    assert {name for name, m in modules.items() if getattr(m, "groups", 1) > 1} <= mask.dense.keys()
    assert all(is_2_4(layer.weight) for layer, _ in mask.masks) and mask.share == 0.5


def test_fine_tuning_keeps_the_zeros():
    network = zoo.create("resnet18", alpha=0.25, num_classes=10, resolution=32).train()
    mask = SparsityMask.by_magnitude(network)
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    with mask.kept():
        network(torch.randn(4, 3, 32, 32)).square().sum().backward()
        optimizer.step()
        assert all(is_2_4(layer.weight) for layer, _ in mask.masks)
    optimizer.step()
    assert not all(is_2_4(layer.weight) for layer, _ in mask.masks)


def test_folding_batch_normalization_keeps_the_zeros():
    network = zoo.create("resnet18", alpha=0.25, num_classes=10, resolution=32)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2)
    names = {id(layer) for layer, _ in SparsityMask.by_magnitude(network).masks}
    sparse = [name for name, module in network.named_modules() if id(module) in names]
    folded = dict(fold_batch_norm(network).named_modules())
    assert not torch.equal(folded["layer1.0.conv1"].weight, network.layer1[0].conv1.weight)
    assert all(is_2_4(folded[name].weight) for name in sparse)


def test_a_network_without_fours_is_refused():
    with pytest.raises(PruningError, match="fours"):
        SparsityMask.by_magnitude(nn.Sequential(nn.Conv2d(3, 6, 1), nn.Linear(6, 2)))


def test_gpus_from_ampere_on_are_sparse():
    assert (
        target("jetson-orin-nano").sparse_2_4 and target("a100").sparse_2_4 and target("rtx-5090").sparse_2_4
    )
    assert not any(target(name).sparse_2_4 for name in ("t4", "rtx-2080-ti", "cpu"))
