"""Pruned networks: smaller as asked, right in what is left, and built again from their structure."""

import copy
import json

import pytest
import torch
from deep_networks import CLASSIFIERS
from torch import nn

from edgecnn import zoo
from edgecnn.compress.prune.allocate import allocate
from edgecnn.compress.prune.channel_groups import Groups
from edgecnn.compress.prune.goal import Goal
from edgecnn.compress.prune.importance import IMPORTANCES, scores
from edgecnn.compress.prune.prune_network import prune
from edgecnn.compress.prune.recalibrate import recalibrate
from edgecnn.errors import InvalidValueError, PruningError
from edgecnn.zoo import cost
from edgecnn.zoo.structure import differences, restructure

HALF = Goal.parse("macs", "0.5x")
SIDES = {
    "lenet_1989": 16,
    "alexnet": 67,
    **dict.fromkeys(("inception_v3", "inception_v4", "inception_resnet_v2"), 96),
}
#: Not as far as half the MACs, or not at all: why.
SHORT = {
    "lenet_1989": "narrower than the alignment",
    "lenet5": "narrower than the alignment",
    "shufflenet_v1_g3": "tied by the shuffle",
    "shufflenet_v1_g4": "tied by the shuffle",
}
#: One for each kind of structure, the smallest that has it; width. A narrow one is enough for it.
STRUCTURES = {
    **dict.fromkeys(("alexnet", "squeezenet1_1", "googlenet_bn", "resnet18", "resnext50_32x4d"), 0.5),
    **dict.fromkeys(("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small"), 0.5),
    **dict.fromkeys(("shufflenet_v1_g8", "shufflenet_v2_x1_0"), 0.5),
    **dict.fromkeys(("vgg11_bn", "swin_tiny"), 0.25),
    "vit_tiny": 1.0,
}
#: Those of other families, whose structure another one stands for.
OTHERS = (
    "zfnet", "inception_v3", "inception_resnet_v2", "se_resnet50", "densenet121", "xception", "nasnet_mobile",
    "mobilenet_v4_conv_small", "mnasnet0_5", "efficientnet_b0", "efficientnet_lite0",
    "regnet_y_200mf", "repvgg_a0", "mobileone_s0", "ghostnet", "efficientnet_v2_b0", "convnext_tiny",
)  # fmt: skip


def small(name, alpha=0.5):
    row, side = zoo.architecture(name), SIDES.get(name, 64)
    network = zoo.create(name, alpha=alpha, num_classes=10, resolution=side)
    torch.manual_seed(0)
    return network, torch.randn(2, row.in_channels, side, side)


def check_round_trip(name, alpha, align=8):
    network, images = small(name, alpha)
    pruned = prune(network, images, goal=HALF, align=align)
    row, side = zoo.architecture(name), images.shape[2]
    assert pruned.after == cost.count(pruned.network, row.in_channels, side)
    assert pruned.before == cost.count(network, row.in_channels, side)
    assert 0.4 < pruned.after.macs / pruned.before.macs <= 0.5
    fresh = zoo.build(row, alpha=alpha, num_classes=10, resolution=side).eval()
    restructure(fresh, json.loads(json.dumps(differences(pruned.network, fresh))))
    fresh.load_state_dict(pruned.network.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.allclose(fresh(images), pruned.network(images), atol=1e-6)
    counts = {len(m.weight) for m in pruned.network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    before = {len(m.weight) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert {count for count in counts if count % align} <= before


@pytest.mark.parametrize(
    ("name", "alpha"),
    [
        *STRUCTURES.items(),
        *(pytest.param(name, 0.5, marks=pytest.mark.slow) for name in OTHERS),
        pytest.param("vit_base", 0.25, marks=pytest.mark.slow),  # as vit_tiny, which is narrower
    ],
)
def test_half_the_macs_and_built_again(name, alpha):
    check_round_trip(name, alpha)


@pytest.mark.slow
@pytest.mark.parametrize("name", [row.name for row in CLASSIFIERS if row.name not in SHORT])
def test_every_network_half_the_macs_and_built_again(name):
    check_round_trip(name, alpha=1.0)


@pytest.mark.parametrize("name", SHORT)
def test_networks_that_cannot_be_halved_say_so(name):
    network, images = small(name, alpha=1.0)
    with pytest.raises(PruningError, match=r"no layer|at least"):
        prune(network, images, goal=HALF)


@pytest.mark.parametrize("name", ["lenet_1989", "lenet5"])
def test_narrow_networks_without_alignment(name):
    check_round_trip(name, alpha=2.0, align=1)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "squeezenet1_1", "se_resnet50", "shufflenet_v2_x1_0", "mobilenet_v2", "vgg11"),
        pytest.param("densenet121", marks=pytest.mark.slow),
    ],
)
def test_channels_that_are_zero_can_go_without_a_trace(name):
    """Silence the channels that will go, wherever they are written: nothing may change without them."""
    network, images = small(name)
    groups = Groups(network, images, 8)
    judged = scores(network, groups, "random")
    keep = allocate(
        groups, judged, "uniform", lambda mask: groups.cost(mask).macs, 1e-9 + 0.5 * _macs(groups)
    )
    silent = copy.deepcopy(network)
    tensors = dict(silent.named_parameters())
    with torch.no_grad():
        for (tensor, axis), labels in groups.axes.items():
            if tensor in tensors and (axis == 0 and not keep[labels].all()):
                tensors[tensor][torch.from_numpy(~keep[labels])] = 0
        for module in silent.modules():
            if isinstance(module, nn.BatchNorm2d):
                gone = module.weight == 0
                module.running_mean[gone], module.running_var[gone] = 0, 1
        from edgecnn.compress.prune.prune_network import without

        assert torch.allclose(without(silent, groups, keep)(images), silent(images), atol=1e-4)
        assert not torch.allclose(network(images), silent(images), atol=1e-2)


def _macs(groups):
    return groups.cost(groups.everything()).macs


def test_the_original_is_left_alone():
    network, images = small("resnet18")
    before = copy.deepcopy(network.state_dict())
    prune(network, images, goal=HALF)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("goal", "measure", "wanted"),
    [
        (Goal.parse("macs", "5M"), lambda done: done.after.macs, 5e6),
        (Goal.parse("params", "500k"), lambda done: done.after.params, 5e5),
        (Goal.parse("params", "0.3x"), lambda done: done.after.params / done.before.params, 0.3),
        (Goal.without(0.25), lambda done: done.channels[1] / done.channels[0], 0.75),
    ],
)
def test_a_goal_is_met_closely(goal, measure, wanted):
    network, images = small("mobilenet_v2")
    assert 0.95 * wanted < measure(prune(network, images, goal=goal)) <= wanted


def labelled(images):
    return lambda: [(images, torch.arange(len(images)) % 10)]


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("spread", ["uniform", "global"])
def test_every_importance_meets_the_goal(importance, spread):
    network, images = small("resnet18")
    options = {"importance": importance, "spread": spread, "batches": labelled(images)}
    done = prune(network, images, goal=HALF, **options)
    assert 0.4 < done.after.macs / done.before.macs <= 0.5


def kept_of(importance, prepare, batches=None):
    """Return which of the hidden channels of a tiny network stay."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 10, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip
    with torch.no_grad():
        prepare(network)
    groups = Groups(network, torch.zeros(1, 3, 4, 4), 4)
    judged = scores(network, groups, importance, batches)
    keep = allocate(groups, judged, "uniform", lambda mask: mask.sum(), len(groups.everything()) - 4)
    return keep[groups.axes["0.weight", 0]].nonzero()[0].tolist()


def test_magnitude_keeps_large_filters():
    def prepare(network):
        network[0].weight[:4] *= 0.01
        network[3].weight[:, :4] *= 0.01
        network[1].weight[:4] *= 0.01

    assert kept_of("magnitude", prepare) == [4, 5, 6, 7]


def test_bn_keeps_large_scales_whatever_the_filters():
    def prepare(network):
        network[0].weight[:4] *= 100
        network[1].weight[:4] *= -0.1

    assert kept_of("bn", prepare) == [4, 5, 6, 7]


def test_taylor_keeps_what_changes_the_loss():
    def prepare(network):
        network[3].weight[:, :4] = 0  # large filters, but nothing reads them
        network[0].weight[:4] *= 100

    images = torch.randn(4, 3, 4, 4)
    assert kept_of("taylor", prepare, [(images, torch.arange(4))]) == [4, 5, 6, 7]


def test_fpgm_keeps_filters_that_others_cannot_replace():
    def prepare(network):
        network[0].weight[:4] = 5 + 0.001 * network[0].weight[:4]
        network[0].weight[4:] *= 1000

    assert kept_of("fpgm", prepare) == [4, 5, 6, 7]


def test_random_depends_on_the_seed_alone():
    network, images = small("resnet18")
    groups = Groups(network, images, 8)
    assert (scores(network, groups, "random", seed=1) == scores(network, groups, "random", seed=1)).all()
    assert (scores(network, groups, "random", seed=1) != scores(network, groups, "random", seed=2)).any()


def test_rounds_fine_tune_each_time_and_meet_the_goal():
    network, images = small("resnet18")
    seen = []

    def finetune(pruned):
        seen.append(cost.count(pruned, 3, 64).macs)
        return 0.1 * len(seen)

    done = prune(network, images, goal=HALF, rounds=3, finetune=finetune)
    assert len(seen) == 3 and seen == sorted(seen, reverse=True) and seen[-1] == done.after.macs
    assert seen[0] / done.before.macs == pytest.approx(0.5 ** (1 / 3), abs=0.05)
    assert done.after.macs <= 0.5 * done.before.macs and done.accuracy == pytest.approx(0.3)


def test_batch_normalization_is_recalibrated_from_the_batches():
    network, images = small("resnet18")
    done = prune(network, images, goal=HALF, batches=labelled(images))
    norm, conv = done.network.bn1, done.network.conv1
    with torch.no_grad():
        mean = conv(images).mean((0, 2, 3))
    assert torch.allclose(norm.running_mean, mean, atol=1e-5)
    assert norm.momentum == 0.1 and not done.network.training


def test_a_network_without_batch_normalization_refuses_bn():
    network, images = small("vgg11")
    with pytest.raises(PruningError, match="does not have"):
        prune(network, images, goal=HALF, importance="bn")


def test_taylor_without_images_is_refused():
    network, images = small("resnet18")
    with pytest.raises(InvalidValueError, match="labelled images"):
        prune(network, images, goal=HALF, importance="taylor")


def test_an_unknown_importance_is_refused():
    network, images = small("resnet18")
    with pytest.raises(InvalidValueError, match="no importance 'magnitud'"):
        prune(network, images, goal=HALF, importance="magnitud")


def test_a_goal_out_of_reach_says_what_is_left():
    network, images = small("resnet18")
    with pytest.raises(PruningError, match=r"pruning leaves at least \d"):
        prune(network, images, goal=Goal.parse("macs", "0.001x"))


def test_a_goal_that_is_met_already_is_refused():
    network, images = small("resnet18")
    with pytest.raises(InvalidValueError, match="no more than"):
        prune(network, images, goal=Goal.parse("macs", "1G"))


def test_a_network_with_channel_counts_in_its_code_is_refused():
    class Rigid(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 4, 1)

        def forward(self, x):
            return self.b(self.a(x).reshape(-1, 32, *x.shape[2:]))

    with pytest.raises(PruningError, match="rests on its channel counts"):
        prune(Rigid(), torch.zeros(1, 3, 4, 4), goal=HALF)


@pytest.mark.parametrize("text", ["", "x", "-1", "0x", "1x", "2x", "1e3", "5T", "nan", "0.5 y"])
def test_bad_goals_are_refused(text):
    with pytest.raises(InvalidValueError):
        Goal.parse("macs", text)


@pytest.mark.parametrize("ratio", [0, 1, -0.5, float("nan")])
def test_bad_ratios_are_refused(ratio):
    with pytest.raises(InvalidValueError):
        Goal.without(ratio)


def test_single_images_leave_the_statistics_of_batch_normalization_as_they_are():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4)).eval()
    image = torch.randn(1, 3, 8, 8)
    before = copy.deepcopy(network.state_dict())
    recalibrate(network, [(image, torch.zeros(1))])
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    recalibrate(network, [(image, torch.zeros(1)), (image.repeat(2, 1, 1, 1), torch.zeros(2))])
    assert not torch.equal(before["2.running_mean"], network[2].running_mean)


def test_channels_that_meet_a_constant_of_their_number_stay():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)
            self.register_buffer("shift", torch.ones(16, 1, 1))
            self.scores = nn.Linear(16, 3)

        def forward(self, x):
            return self.scores(self.second(self.first(x) + self.shift).mean((2, 3)))

    pruned = prune(Shifted(), torch.zeros(1, 3, 8, 8), goal=Goal("macs", 0.6, relative=True), align=1)
    assert pruned.network.first.weight.shape[0] == 16 > pruned.network.second.weight.shape[0]
