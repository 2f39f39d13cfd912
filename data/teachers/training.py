"""Training on one GPU: augmentation, and networks side by side in one captured step."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WARM_UP = 3  # steps at learning rate 0, in which libraries choose their algorithms


# -- augmentation ------------------------------------------------------------------------------------------


def augmented(images: Tensor, strength: float) -> Tensor:
    """Return other photographs of the same faces, after `fer_lib.augmentation.RandomPhotograph`.

    Parameters
    ----------
    images : Tensor (n, 1, 48, 48)
        In [0, 1].
    strength : float
        0 changes nothing. At 1: mirrored half of the time; turned by up to 15 degrees, scaled by 18 %, its
        sides by 10 % more, sheared by 10 %, moved by 8 %; gamma, contrast, brightness, sharpness, noise;
        half of the time a rectangle is hidden.
    """
    return _hidden(_lit(_moved(images, strength), strength), strength)


def _moved(images: Tensor, s: float) -> Tensor:
    draw = 2 * torch.rand(7, len(images), device=images.device) - 1
    angle, scale = 0.26 * s * draw[0], 1 + 0.18 * s * draw[1]
    across = scale * (1 + 0.1 * s * draw[2]) * torch.where(draw[3] < 0, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [across * cos, 0.1 * s * draw[4] - scale * sin, 0.166 * s * draw[5]]
    rows += [across * sin, scale * cos, 0.166 * s * draw[6]]
    matrices = torch.stack(rows, 1).view(-1, 2, 3)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _lit(images: Tensor, s: float) -> Tensor:
    draw = 2 * torch.rand(5, len(images), 1, 1, 1, device=images.device) - 1
    gamma, contrast, light, sharpness, noise = draw
    images = images.clamp(1e-3, 1.0) ** torch.exp(0.5 * s * gamma)
    images = (images - 0.5) * torch.exp(0.45 * s * contrast) + 0.5 + 0.18 * s * light
    soft = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    images = images + (soft - images) * s * (0.15 + 0.85 * sharpness)
    return (images + torch.randn_like(images) * s * (0.025 + 0.025 * noise)).clamp(0.0, 1.0)


def _rectangle(n: int, height: Tensor, width: Tensor, side: int) -> Tensor:
    """Return masks (n, 1, side, side) of rectangles of these sizes, shares of the side, anywhere inside."""
    at = (torch.arange(side, device=height.device) + 0.5) / side
    spans = []
    for size in (height, width):
        begin = torch.rand(n, 1, device=height.device) * (1 - size)
        spans.append((at >= begin) & (at < begin + size))
    return (spans[0][:, None, :, None] & spans[1][:, None, None, :]).float()


def _hidden(images: Tensor, s: float) -> Tensor:
    n = len(images)
    height, width = 0.1 + 0.27 * torch.rand(2, n, 1, device=images.device)
    flat, which, often = torch.rand(3, n, 1, 1, 1, device=images.device)
    hole = _rectangle(n, height, width, images.shape[-1]) * (often < 0.5 * s * s)
    fill = torch.where(which < 0.5, flat, torch.rand_like(images))
    return images + (fill - images) * hole


def mixed(images: Tensor, targets: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Mix images, and what they are said to be, with their neighbours in the batch.

    Half of those that are mixed are overlaid (mixup, Zhang et al., 2018, arXiv:1710.09412, with weights of
    the beta distribution of 1/2 and 1/2), half have a rectangle pasted in (CutMix, Yun et al., 2019,
    arXiv:1905.04899).

    Parameters
    ----------
    images : Tensor (n, 1, side, side)
    targets : Tensor (n, ...)
    share : Tensor ()
        How many of them.
    """
    n, side = len(images), images.shape[-1]
    draw, which, area = torch.rand(3, n, 1, device=images.device)
    overlaid = torch.sin(0.5 * math.pi * draw).square()[:, :, None, None].expand(-1, -1, side, side)
    size = torch.sqrt(area)
    mask = torch.where(which[:, :, None, None] < 0.5, overlaid, _rectangle(n, size, size, side))
    mask = mask * (torch.rand(n, 1, 1, 1, device=images.device) < share)
    weight = mask.mean((1, 2, 3)).view(-1, *[1] * (targets.dim() - 1))
    return torch.lerp(images, images.roll(1, 0), mask), torch.lerp(targets, targets.roll(1, 0), weight)


# -- networks side by side ---------------------------------------------------------------------------------


@dataclass
class Goal:
    """What a network is to say: labels, or what teachers say, or something between.

    Attributes
    ----------
    smoothing : float
        Of the labels.
    soft : float
        Weight of the teachers; the labels have the rest.
    temperature : float
        At which teachers and network are compared (Hinton et al., 2015, arXiv:1503.02531).
    weighing : int
        Which row of the targets weighs the images by its sum; 0: none of them, all count the same.
    """

    smoothing: float = 0.1
    soft: float = 0.0
    temperature: float = 1.0
    weighing: int = 0

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of logits (n, k) for targets (n, 2 or more, k): labels, teachers, weights."""
        hard = targets[:, 0] * (1 - self.smoothing) + self.smoothing / logits.shape[1]
        losses = -(hard * logits.log_softmax(1)).sum(1) * (1 - self.soft)
        if self.soft:
            t = self.temperature
            taught = (targets[:, 1].clamp_min(1e-6).log() / t).softmax(1)
            losses = losses - (taught * (logits / t).log_softmax(1)).sum(1) * t * t * self.soft
        if self.weighing:
            weights = targets[:, self.weighing].sum(1)
            return (losses * weights).sum() / weights.sum()
        return losses.mean()


class Fit:
    """A network in training, with its optimiser and the moving average of its weights."""

    def __init__(self, network: nn.Module, goal: Goal, decay: float, momentum: float, cuda: bool) -> None:
        """Decay weights by `decay` times the learning rate a step, biases and normalisations not at all."""
        device = torch.device("cuda" if cuda else "cpu")
        self.network = network.to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval()
        self.goal, self.momentum = goal, momentum
        self.rate = torch.zeros((), device=device)
        decayed = [p for p in network.parameters() if p.dim() > 1]
        others = [p for p in network.parameters() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(
            groups, lr=self.rate, betas=(0.9, 0.99), fused=cuda, capturable=cuda, foreach=False
        )
        self.stream = torch.cuda.Stream() if cuda else None

    def step(self, images: Tensor, targets: Tensor) -> None:
        """Make one step of the optimiser, and of the average."""
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, cache_enabled=False):
            logits = self.network(images)
        self.goal.loss(logits.float(), targets).backward()
        self.optimiser.step()
        with torch.no_grad():
            for name in ("parameters", "buffers"):
                now = [t.detach() for t in getattr(self.network, name)() if t.is_floating_point()]
                kept = [t for t in getattr(self.average, name)() if t.is_floating_point()]
                torch._foreach_lerp_(kept, now, 1 - self.momentum)

    @torch.inference_mode()
    def predict(self, images: Tensor, mirrored: bool, shifts: int = 0) -> Tensor:
        """Return the probabilities (n, k) of the averaged network for (n, 48, 48) grey values.

        `mirrored`: the mean over an image and its mirror image. `shifts`: and over the image moved by so many
        pixels in each of the eight directions.
        """
        moves = [(0, 0)] if not shifts else [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        found = []
        for batch in images.split(2048):
            x = batch[:, None].float().div(255).contiguous(memory_format=torch.channels_last)
            wide = F.pad(x, [shifts] * 4, mode="replicate")
            said = []
            for down, right in moves:
                top, left = shifts * (1 + down), shifts * (1 + right)
                y = wide[:, :, top : top + x.shape[2], left : left + x.shape[3]]
                with torch.autocast(x.device.type, torch.bfloat16):
                    said += [self.average(z) for z in ((y, y.flip(3)) if mirrored else (y,))]
            found.append(torch.stack([logits.float().softmax(1) for logits in said]).mean(0))
        return torch.cat(found)


class SideBySide:
    """Several networks trained on the same batches of the same augmented images.

    On a GPU one step of all of them is captured as a graph, each on its own stream: small networks then run
    at the same time and no time goes by in starting kernels. They differ in nothing but shape and goal, so
    that their results can be compared in pairs.

    Parameters
    ----------
    fits : sequence of Fit
    images : Tensor (n, 48, 48) uint8
    targets : Tensor (n, 2, k)
        Labels and teachers, as probabilities.
    batch : int
    strength : float
        Of the augmentation.
    """

    def __init__(
        self, fits: Sequence[Fit], images: Tensor, targets: Tensor, batch: int, strength: float
    ) -> None:
        self.fits, self.images, self.targets, self.strength = fits, images, targets, strength
        self.index = torch.arange(batch, device=images.device) % len(images)
        self.mixing = torch.zeros((), device=images.device)
        self.mixes = False
        self.graph: torch.cuda.CUDAGraph | None = None

    def capture(self, mixes: bool) -> None:
        """Make the step ready: it mixes images or never does."""
        self.mixes = mixes
        if self.images.is_cuda:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    self._step()
                for fit in self.fits:
                    fit.optimiser.zero_grad(set_to_none=True)
            torch.cuda.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=stream):
                self._step()
        else:
            self._step()

    def _step(self) -> None:
        with torch.no_grad():
            x = self.images[self.index][:, None].float().div(255)
            targets = self.targets[self.index]
            x = augmented(x, self.strength)
            if self.mixes:
                x, targets = mixed(x, targets, self.mixing)
            x = x.contiguous(memory_format=torch.channels_last)
        if not x.is_cuda:
            for fit in self.fits:
                fit.step(x, targets)
            return
        here = torch.cuda.current_stream()
        for fit in self.fits:
            fit.stream.wait_stream(here)
            with torch.cuda.stream(fit.stream):
                fit.step(x, targets)
        for fit in self.fits:
            here.wait_stream(fit.stream)

    def seconds_a_step(self, steps: int = 40) -> float:
        """Measure how long a step takes; at learning rate 0, so that nothing is learnt."""
        self._wait()
        begin = time.perf_counter()
        for _ in range(steps if self.graph else 1):
            self._run()
        self._wait()
        return (time.perf_counter() - begin) / (steps if self.graph else 1)

    def _run(self) -> None:
        if self.graph:
            self.graph.replay()
        else:
            self._step()

    def _wait(self) -> None:
        if self.images.is_cuda:
            torch.cuda.synchronize()

    def train(
        self,
        chosen: Tensor,
        epochs: int,
        rate: float,
        mixing: float,
        beside: Tensor | None = None,
        share: float = 0.0,
    ) -> None:
        """Train on the images at `chosen`: warm-up of a twentieth, then a cosine to 0.

        Mixing, the share of images that are mixed, ends after 85 % of the steps: the last ones see faces as
        they are. `share` of each batch is taken from the images at `beside` instead; the number of steps is
        what it would be without.
        """
        batch = len(self.index)
        total, others = epochs * (len(chosen) // batch), round(share * batch)
        ours = _in_turn(chosen, batch - others)
        theirs = None if beside is None or not others else _in_turn(beside, others)
        for done in range(total):
            progress = done / total
            self.mixing.fill_(mixing if progress < 0.85 else 0.0)
            warm = min(1.0, progress / 0.05 + 1 / total)
            for fit in self.fits:
                fit.rate.fill_(rate * warm * 0.5 * (1 + math.cos(math.pi * progress)))
            index = next(ours)
            self.index.copy_(index if theirs is None else torch.cat([index, next(theirs)]))
            self._run()
        self._wait()


def _in_turn(chosen: Tensor, count: int) -> Iterator[Tensor]:
    """Yield so many of `chosen`, again and again in another order."""
    if len(chosen) < count:
        raise ValueError(f"{len(chosen)} images are fewer than the {count} that a batch takes of them")
    while True:
        order = chosen[torch.randperm(len(chosen), device=chosen.device)]
        yield from (part for part in order.split(count) if len(part) == count)
