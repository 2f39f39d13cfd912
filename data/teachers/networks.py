"""Teachers of 2 to 6 million parameters, and students under 150,000: grey 48x48 in, logits out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size, but for its stride."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


def normalised(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return convolution, batch normalisation and ReLU."""
    return nn.Sequential(
        convolution(inputs, outputs, size, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class SqueezeExcitation(nn.Module):
    """Weigh channels by what the whole picture shows (Hu et al., 2018, arXiv:1709.01507)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1)
        self.excite = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with its channels weighed."""
        weights = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(weights))))


class PreActivation(nn.Module):
    """Two convolutions, each after normalisation and ReLU (He et al., 2016, arXiv:1603.05027)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.normal1, self.normal2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1, self.conv2 = convolution(inputs, outputs, 3, stride), convolution(outputs, outputs)
        changes = stride > 1 or inputs != outputs
        self.shortcut = convolution(inputs, outputs, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the convolutions and the shortcut."""
        y = F.relu(self.normal1(x))
        x = x if self.shortcut is None else self.shortcut(y)
        return x + self.conv2(F.relu(self.normal2(self.conv1(y))))


class Residual(nn.Module):
    """Two normalised convolutions and squeeze-and-excitation beside a shortcut, ReLU after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = normalised(inputs, outputs, 3, stride)
        self.second = nn.Sequential(
            convolution(outputs, outputs), nn.BatchNorm2d(outputs), SqueezeExcitation(outputs, 8)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum."""
        return F.relu(self.shortcut(x) + self.second(self.first(x)))


class Dense(nn.Module):
    """Append a few channels to those that came before (Huang et al., 2017, arXiv:1608.06993)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.normal1, self.normal2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(4 * growth)
        self.conv1, self.conv2 = convolution(inputs, 4 * growth, 1), convolution(4 * growth, growth)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` and the new channels."""
        y = self.conv1(F.relu(self.normal1(x)))
        return torch.cat([x, self.conv2(F.relu(self.normal2(y)))], 1)


class Separable(nn.Module):
    """Two separable convolutions and squeeze-and-excitation beside a shortcut, pooled before where asked."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.pool: nn.Module = nn.AvgPool2d(2) if stride > 1 else nn.Identity()
        self.body = nn.Sequential(
            convolution(inputs, inputs, groups=inputs),
            normalised(inputs, outputs, 1),
            convolution(outputs, outputs, groups=outputs),
            convolution(outputs, outputs, 1),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs, 4),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum."""
        x = self.pool(x)
        return F.relu(self.shortcut(x) + self.body(x))


def head(channels: int, classes: int, dropout: float) -> list[nn.Module]:
    """Return average over the picture, dropout and the dense layer."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, classes)]


def staged(
    block: Callable[[int, int, int], nn.Module], stem: int, widths: tuple[int, ...], depths: tuple[int, ...]
) -> list[nn.Module]:
    """Return a convolution at 48x48 and stages of blocks, each of which halves the side at its beginning."""
    layers: list[nn.Module] = [normalised(1, stem)]
    inputs = stem
    for width, depth in zip(widths, depths, strict=True):
        for i in range(depth):
            layers.append(block(inputs, width, 2 if i == 0 else 1))
            inputs = width
    return layers


def wide_resnet(classes: int) -> nn.Module:
    """Return a wide residual network of pre-activation blocks."""
    layers = staged(PreActivation, 48, (96, 192, 384), (2, 2, 2))
    return nn.Sequential(*layers, nn.BatchNorm2d(384), nn.ReLU(), *head(384, classes, 0.3))


def se_resnet(classes: int) -> nn.Module:
    """Return a deeper, narrower residual network with squeeze-and-excitation."""
    return nn.Sequential(*staged(Residual, 32, (64, 128, 256), (3, 4, 3)), *head(256, classes, 0.3))


def vgg(classes: int) -> nn.Module:
    """Return plain convolutions with pooling (Simonyan and Zisserman, 2015, arXiv:1409.1556)."""
    layers: list[nn.Module] = [normalised(1, 48), normalised(48, 48)]
    inputs = 48
    for width, depth in ((96, 2), (192, 3), (384, 2)):
        layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            layers.append(normalised(inputs, width))
            inputs = width
        layers.append(nn.Dropout2d(0.1))
    return nn.Sequential(*layers, *head(384, classes, 0.4))


def densenet(classes: int) -> nn.Module:
    """Return a densely connected network."""
    layers: list[nn.Module] = [normalised(1, 48)]
    inputs, growth = 48, 32
    for depth in (6, 8, 10):
        layers.append(nn.AvgPool2d(2))
        for _ in range(depth):
            layers.append(Dense(inputs, growth))
            inputs += growth
        layers += [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)]
        if depth < 10:
            layers.append(convolution(inputs, inputs // 2, 1))
            inputs //= 2
    return nn.Sequential(*layers, *head(inputs, classes, 0.3))


class Plain(nn.Module):
    """Two normalised convolutions beside an identity, ReLU after the sum: a block of `optimized`.

    `reduction`: of squeeze-and-excitation before the sum; 0 for none.
    """

    def __init__(self, width: int, reduction: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(normalised(width, width), convolution(width, width), nn.BatchNorm2d(width))
        if reduction:
            self.body.append(SqueezeExcitation(width, reduction))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum."""
        return F.relu(x + self.body(x))


def optimized(
    classes: int,
    stem: int = 16,
    stages: tuple[tuple[int, int], ...] = ((32, 1), (48, 2), (64, 0)),
    reduction: int = 0,
    pool: Callable[[int], nn.Module] = nn.MaxPool2d,
) -> nn.Module:
    """Return the shape of `fer_lib/models/optimized_model.py`, or the same with other widths and depths."""
    layers: list[nn.Module] = [normalised(1, stem)]
    inputs = stem
    for width, blocks in stages:
        layers += [pool(2), normalised(inputs, width), *(Plain(width, reduction) for _ in range(blocks))]
        inputs = width
    return nn.Sequential(*layers, *head(inputs, classes, 0.2))


def small(classes: int) -> nn.Module:
    """Return the same shape with at most 58,423 parameters."""
    return optimized(classes, 12, ((20, 1), (28, 2), (48, 0)))


def squeezed(classes: int) -> nn.Module:
    """Return `optimized` with squeeze-and-excitation in its blocks, and fewer filters at the end."""
    return optimized(classes, 16, ((32, 1), (48, 2), (60, 0)), 8)


def deeper(classes: int) -> nn.Module:
    """Return `optimized` with a block at 6x6 pixels, and fewer filters."""
    return optimized(classes, 16, ((28, 1), (38, 2), (52, 1)))


def deeper_squeezed(classes: int) -> nn.Module:
    """Return `deeper` with squeeze-and-excitation."""
    return optimized(classes, 16, ((28, 1), (38, 2), (51, 1)), 8)


def deeper_averaging(classes: int) -> nn.Module:
    """Return `deeper_squeezed` with average pooling."""
    return optimized(classes, 16, ((28, 1), (38, 2), (51, 1)), 8, nn.AvgPool2d)


def small_deeper(classes: int) -> nn.Module:
    """Return `deeper_squeezed` with at most 58,423 parameters."""
    return optimized(classes, 12, ((18, 1), (24, 2), (30, 1)), 4)


def averaging(classes: int) -> nn.Module:
    """Return `optimized` with average instead of maximum pooling."""
    return optimized(classes, pool=nn.AvgPool2d)


def small_squeezed(classes: int) -> nn.Module:
    """Return `small` with squeeze-and-excitation in its blocks."""
    return optimized(classes, 12, ((20, 1), (28, 2), (48, 0)), 4)


def small_separable(classes: int) -> nn.Module:
    """Return `separable` with at most 58,423 parameters."""
    layers = staged(Separable, 16, (32, 48, 64), (2, 3, 2))
    return nn.Sequential(*layers, *head(64, classes, 0.1))


def separable(classes: int) -> nn.Module:
    """Return separable residual blocks with squeeze-and-excitation, under 150,000 parameters."""
    layers = staged(Separable, 24, (48, 80, 112), (2, 3, 2))
    return nn.Sequential(*layers, *head(112, classes, 0.2))


TEACHERS = {"wide_resnet": wide_resnet, "se_resnet": se_resnet, "vgg": vgg, "densenet": densenet}
STUDENTS = {
    network.__name__: network
    for network in (
        *(optimized, squeezed, deeper, deeper_squeezed, deeper_averaging, averaging, separable),
        *(small, small_squeezed, small_deeper, small_separable),
    )
}


def parameters(network: nn.Module) -> int:
    """Count parameters as Keras does: running means and variances of batch normalisation included."""
    averages = sum(2 * layer.num_features for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))
    return sum(parameter.numel() for parameter in network.parameters()) + averages
