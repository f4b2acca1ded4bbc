"""What a step of training costs: `python -m benchmarks.training`, Markdown on standard output.

A row a case: the network, what of it learns, and the side of the crops. Crops are random numbers, in memory: reading
photographs is not measured. The cases take turns, round after round, so that whatever else the machine does falls on
all of them alike.
"""

import argparse
import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.gemm import ceilings
from benchmarks.machine import describe_machine
from benchmarks.table import render_ceilings, render_table
from service.network.backbones import BackboneName
from training.fit.quantization import color_histogram
from training.fit.recipe import Recipe
from training.fit.run import Run

SIDES = (128, 160, 224)
STEPS = 3
"""Of one case in one round."""

# As `training.fit` of version 1.1.0 was, and as a run goes on now: first with the whole trunk frozen, then with its
# first seven layers.
CASES = {
    "published network, whole trunk": {},
    "fused at every scale, whole trunk": {"fusion_strides": (32, 16, 8, 4), "confidence": True},
    "the same, first 7 layers frozen": {"fusion_strides": (32, 16, 8, 4), "confidence": True, "frozen_layers": 7},
    "the same, trunk frozen": {
        "fusion_strides": (32, 16, 8, 4),
        "confidence": True,
        "backbone_learning_rate": 0.0,
    },
}


@dataclass(frozen=True)
class Case:
    """A run at its beginning, and a batch for it."""

    name: str
    side: int
    run: Run
    rgb: Tensor
    lightness: Tensor

    def seconds(self) -> float:
        """Of one step, over `STEPS`."""
        started = time.monotonic()
        for _ in range(STEPS):
            self.run.step(self.rgb, self.lightness)
        return (time.monotonic() - started) / STEPS

    def flops(self) -> int:
        """Of the convolutions of one step: a layer that learns multiplies three times as much as one that does not.

        Not torch's FlopCounterMode: it takes the gradients of depthwise convolutions for those of dense ones.
        """
        total = 0

        def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            nonlocal total
            assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
            # Every number of the one is multiplied with all weights of its channel.
            places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
            products = places.numel() // places.shape[1] * layer.weight.numel()
            total += 2 * products * (3 if layer.weight.requires_grad else 1)

        layers = [m for m in self.run.model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
        handles = [layer.register_forward_hook(count) for layer in layers]
        self.run.step(self.rgb, self.lightness)
        for handle in handles:
            handle.remove()
        return total


def main() -> None:
    """Measures and prints."""
    options = _options()
    gflops = ceilings()
    cases = [_case(name, side, options.backbone) for name in CASES for side in options.sides]
    flops = [case.flops() for case in cases]  # also warms up
    seconds = list(zip(*([case.seconds() for case in cases] for _ in range(options.rounds)), strict=True))
    precision = "bfloat16" if cases[0].run.bfloat16 else "float32"
    header = [
        *describe_machine(),
        f"{options.backbone}, batches of {len(cases[0].rgb)}, {precision}, {torch.get_num_threads()} threads",
        f"medians of {options.rounds} rounds of {STEPS} steps, interleaved",
    ]
    print("\n".join(f"- {line}" for line in header), render_ceilings(gflops), sep="\n\n")
    rows = []
    for case, work, times in zip(cases, flops, seconds, strict=True):
        median = statistics.median(times)
        share = work / median / 1e9 / gflops[precision]
        rows.append([case.name, str(case.side), f"{len(case.rgb) / median:.1f}", f"{share:.0%}"])
    print("", render_table(["learning", "side", "crops/s", f"of the {precision} products"], rows), sep="\n")


def _case(name: str, side: int, backbone: BackboneName) -> Case:
    recipe = Recipe.model_validate({"crop_sizes": [{"side": side}], **CASES[name]})
    histogram = color_histogram(torch.rand(1, 2, 64, 64) - 0.5)
    run = Run(recipe.network(backbone), recipe, 0, histogram)
    rgb = torch.randint(0, 256, (recipe.batch_size, 3, side, side), dtype=torch.uint8)
    return Case(name, side, run, rgb, torch.rand(recipe.batch_size, 1, side, side) * 100)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--backbone", type=BackboneName, choices=list(BackboneName), default=BackboneName.MOBILENET_V2)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="of the crops, in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
