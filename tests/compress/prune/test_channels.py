"""Which channels belong together, on layers small enough to say so by hand."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgecnn.compress.prune.channel_labels import trace
from edgecnn.zoo.blocks import LocalResponseNorm

IMAGE = torch.zeros(1, 3, 8, 8)


class Net(nn.Module):
    """Layers by name, and a function of them and the image."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


def conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False, **options)


def labels(network, tensor, axis, example=IMAGE):
    return trace(network, example).axes.get((tensor, axis))


def partners(found):
    """Return the positions of each label that is at several."""
    return sorted(np.flatnonzero(found == label).tolist() for label in np.unique(found))


def test_a_reader_has_its_writers_labels():
    net = Net(lambda n, x: n.out(F.relu(n.bn(n.a(x)))), a=conv(3, 6), bn=nn.BatchNorm2d(6), out=conv(6, 4))
    written = labels(net, "a.weight", 0)
    assert len(set(written)) == 6 and 0 not in written
    for tensor, axis in (("bn.weight", 0), ("bn.running_var", 0), ("out.weight", 1)):
        assert (labels(net, tensor, axis) == written).all()


def test_the_image_and_the_logits_stay():
    net = Net(lambda n, x: n.out(n.a(x)), a=conv(3, 6), out=conv(6, 4))
    assert labels(net, "a.weight", 1) is None and labels(net, "out.weight", 0) is None


def test_summands_share_labels():
    net = Net(lambda n, x: n.out(n.a(x) + n.b(x)), a=conv(3, 6), b=conv(3, 6), out=conv(6, 4))
    assert (labels(net, "a.weight", 0) == labels(net, "b.weight", 0)).all()


def test_a_depthwise_layer_passes_labels_on():
    net = Net(lambda n, x: n.out(n.d(n.a(x))), a=conv(3, 6), d=conv(6, 6, groups=6), out=conv(6, 4))
    assert (labels(net, "d.weight", 0) == labels(net, "a.weight", 0)).all()
    assert (labels(net, "out.weight", 1) == labels(net, "a.weight", 0)).all()


def test_groups_of_a_convolution_shrink_alike():
    net = Net(lambda n, x: n.out(n.g(n.a(x))), a=conv(3, 6), g=conv(6, 4, groups=2), out=conv(4, 4))
    assert partners(labels(net, "a.weight", 0)) == [[0, 3], [1, 4], [2, 5]]
    assert partners(labels(net, "g.weight", 0)) == [[0, 2], [1, 3]]


def test_a_concatenation_keeps_its_parts_apart():
    net = Net(lambda n, x: n.out(torch.cat([n.a(x), n.b(x)], 1)), a=conv(3, 2), b=conv(3, 3), out=conv(5, 4))
    both = [*labels(net, "a.weight", 0), *labels(net, "b.weight", 0)]
    assert labels(net, "out.weight", 1).tolist() == both and len(set(both)) == 5


def test_a_flattened_map_has_its_channels_labels():
    net = Net(lambda n, x: n.fc(torch.flatten(F.avg_pool2d(n.a(x), 4), 1)), a=conv(3, 2), fc=nn.Linear(8, 4))
    assert (labels(net, "fc.weight", 1) == labels(net, "a.weight", 0).repeat(4)).all()


def test_a_split_keeps_its_halves_alike():
    def forward(n, x):
        first, second = n.a(x).chunk(2, 1)
        return n.out(first * n.b(second))

    net = Net(forward, a=conv(3, 4), b=conv(2, 2), out=conv(2, 4))
    assert partners(labels(net, "a.weight", 0)) == [[0, 2], [1, 3]]


def test_a_part_cut_out_at_a_fixed_place_stays():
    net = Net(lambda n, x: n.out(n.a(x)[:, :2]), a=conv(3, 4), out=conv(2, 4))
    assert labels(net, "a.weight", 0) is None


def test_a_shuffle_moves_labels():
    def forward(n, x):
        x = n.a(x)
        x = x.reshape(-1, 2, x.shape[1] // 2, 8, 8).transpose(1, 2).reshape(-1, x.shape[1], 8, 8)
        return n.out(x)

    net = Net(forward, a=conv(3, 6), out=conv(6, 4))
    assert (labels(net, "out.weight", 1) == labels(net, "a.weight", 0)[[0, 3, 1, 4, 2, 5]]).all()


def test_a_gate_has_the_labels_of_what_it_gates():
    net = Net(
        lambda n, x: n.out(n.a(x) * n.g(F.adaptive_avg_pool2d(x, 1)).sigmoid()),
        a=conv(3, 6), g=nn.Conv2d(3, 6, 1), out=conv(6, 4),
    )  # fmt: skip
    assert (labels(net, "g.weight", 0) == labels(net, "a.weight", 0)).all()
    assert (labels(net, "g.bias", 0) == labels(net, "a.weight", 0)).all()


def test_channels_that_attention_multiplies_stay():
    def forward(n, x):
        tokens = x.flatten(2).mT
        return n.out(n.q(tokens) @ n.k(tokens).mT)

    net = Net(forward, q=nn.Linear(3, 5), k=nn.Linear(3, 5), out=nn.Linear(64, 4))
    assert labels(net, "q.weight", 0) is None and labels(net, "k.bias", 0) is None


def test_pooling_to_one_pixel_of_one_pixel_passes_labels_on():
    net = Net(
        lambda n, x: n.fc(torch.flatten(F.adaptive_avg_pool2d(n.a(F.max_pool2d(x, 8)), 1), 1)),
        a=nn.Conv2d(3, 6, 1), fc=nn.Linear(6, 4),
    )  # fmt: skip
    assert (labels(net, "fc.weight", 1) == labels(net, "a.weight", 0)).all()


def test_an_embedding_has_the_labels_of_what_it_is_added_to():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.out = nn.Linear(8, 6), nn.Linear(6, 4)
            self.embedding = nn.Parameter(torch.zeros(1, 24, 6))

        def forward(self, x):
            return self.out(self.a(x.flatten(1, 2)) + self.embedding)

    found = trace(Tokens(), IMAGE).axes
    assert (found["embedding", 2] == found["a.weight", 0]).all()
    assert ("embedding", 1) not in found and ("embedding", 0) not in found


def test_response_normalization_passes_labels_on():
    net = Net(lambda n, x: n.out(n.lrn(n.a(x))), a=conv(3, 6), lrn=LocalResponseNorm(5), out=conv(6, 4))
    assert (labels(net, "out.weight", 1) == labels(net, "a.weight", 0)).all()


def test_what_an_unknown_operator_reads_stays():
    net = Net(lambda n, x: n.out(n.a(x).cumsum(1)), a=conv(3, 6), out=conv(6, 4))
    assert labels(net, "a.weight", 0) is None and labels(net, "out.weight", 1) is None


def test_a_layer_that_runs_twice_keeps_its_labels():
    net = Net(lambda n, x: n.out(n.b(n.b(n.a(x)))), a=conv(3, 6), b=conv(6, 6), out=conv(6, 4))
    found = labels(net, "b.weight", 0)
    assert (found == labels(net, "b.weight", 1)).all() and (found == labels(net, "a.weight", 0)).all()


def test_auxiliary_classifiers_of_training_follow_what_they_read():
    def forward(n, x):
        x = n.a(x)
        return (n.out(x), n.aux(x)) if n.training else n.out(x)

    net = Net(forward, a=conv(3, 6), out=conv(6, 4), aux=nn.Sequential(nn.Dropout(), conv(6, 4)))
    assert (labels(net, "aux.1.weight", 1) == labels(net, "a.weight", 0)).all()
    assert labels(net, "aux.1.weight", 0) is None


def test_a_network_is_left_as_it_was():
    net = Net(lambda n, x: n.out(n.bn(n.a(x))), a=conv(3, 6), bn=nn.BatchNorm2d(6), out=conv(6, 4)).train()
    trace(net, IMAGE)
    assert net.training and not any(module._forward_hooks for module in net.modules())
    assert net.bn.num_batches_tracked == 0 and net.a.weight.device.type == "cpu"
