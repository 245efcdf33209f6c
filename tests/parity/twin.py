"""Unshared and soft-shared networks in PyTorch, written from the paper."""

import re

import torch
import torch.nn.functional as F
from torch import nn


class TemplateBank(nn.Module):
    """k templates ``[k, out, in, 3, 3]``."""

    def __init__(self, templates: int, channels: int):
        super().__init__()
        self.templates = nn.Parameter(torch.empty(templates, channels, channels, 3, 3))
        with torch.no_grad():
            self.templates.normal_(0, (2 / (9 * channels)) ** 0.5)


class SharedConv(nn.Module):
    """A 3x3 convolution whose weight is a combination of a bank's templates."""

    def __init__(self, bank: TemplateBank):
        super().__init__()
        self.bank = bank
        self.coefficients = nn.Parameter(torch.randn(len(bank.templates), 1, 1, 1, 1))

    def forward(self, x):
        return F.conv2d(x, (self.bank.templates * self.coefficients).sum(0), padding=1)


class Block(nn.Module):
    def __init__(self, inputs: int, features: int, stride: int, bank: TemplateBank | None):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.bn2 = nn.BatchNorm2d(features)
        self.conv1: nn.Module
        self.conv2: nn.Module
        if bank is None:
            self.conv1 = nn.Conv2d(inputs, features, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
        else:
            self.conv1, self.conv2 = SharedConv(bank), SharedConv(bank)
        if inputs != features:
            self.convShortcut = nn.Conv2d(inputs, features, 1, stride, bias=False)

    def forward(self, x):
        active = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (self.convShortcut(active) if hasattr(self, "convShortcut") else x)


class Twin(nn.Module):
    """WRN L-w or SWRN L-w-k, with the parameter names of the authors' checkpoints."""

    def __init__(self, depth: int, width: int, templates: int | None = None, num_classes: int = 10):
        super().__init__()
        self.stage_1: nn.Module
        self.stage_2: nn.Module
        self.stage_3: nn.Module
        self.conv_3x3 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        inputs = 16
        for number in (1, 2, 3):
            features = 16 * width * 2 ** (number - 1)
            bank = None
            if templates is not None:
                bank = TemplateBank(templates, features)
                setattr(self, f"bank_{number}", bank)
            blocks = [Block(inputs, features, 1 if number == 1 else 2, None)]
            blocks += [Block(features, features, 1, bank) for _ in range((depth - 4) // 6 - 1)]
            setattr(self, f"stage_{number}", nn.Sequential(*blocks))
            inputs = features
        self.lastact = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, x):
        x = self.conv_3x3(x)
        for stage in (self.stage_1, self.stage_2, self.stage_3):
            x = stage(x)
        return self.classifier(self.lastact(x).mean((2, 3)))


class GridTwin(nn.Module):
    """CNN D-C of the shortest-paths task, or with k templates SCNN D-C-k."""

    def __init__(self, depth: int, channels: int, templates: int | None = None):
        super().__init__()
        self.stem = nn.Conv2d(2, channels, 1)
        bank = None if templates is None else TemplateBank(templates, channels)
        convs = [
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False) if bank is None else SharedConv(bank)
            for _ in range(depth)
        ]
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(depth))
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, x):
        x = self.stem(x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + F.relu(norm(conv(x)))
        return self.head(x)[:, 0]


def twin_of(name: str) -> nn.Module:
    """Returns the twin of a wide ResNet or of a network of the shortest-paths task, such as ``scnn-20-32``.

    Raises:
        ValueError: the network has no twin.
    """
    match = re.fullmatch(r"(s?)(wrn|cnn)-(\d+)-(\d+)(?:-(\d+))?", name)
    if match is None or (match[5] and not match[1]):
        raise ValueError(f"{name} has no twin; name a [s]wrn-L-w[-k] or [s]cnn-D-C[-k]")
    depth, size = int(match[3]), int(match[4])
    layers = (depth - 4) // 6 * 2 - 2 if match[2] == "wrn" else depth
    templates = int(match[5] or layers) if match[1] else None
    return (Twin if match[2] == "wrn" else GridTwin)(depth, size, templates)


def optimizer(net: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Returns the paper's optimizer: Nesterov momentum, weight decay on all but the coefficients."""
    named = list(net.named_parameters())
    free = [p for name, p in named if name.endswith("coefficients")]
    decayed = [p for name, p in named if not name.endswith("coefficients")]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)


def with_statistics() -> Twin:
    """Returns a soft-shared twin of WRN 16-1, in evaluation mode, with random batch-norm statistics."""
    torch.manual_seed(0)
    twin = Twin(16, 1, 2)
    with torch.no_grad():
        for norm in (m for m in twin.modules() if isinstance(m, nn.BatchNorm2d)):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 1.5)
    return twin.eval()
