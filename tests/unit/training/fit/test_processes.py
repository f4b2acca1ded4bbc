import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import torch
from torch import Tensor

from tests.unit.training.tiny import TINY, batch, tiny_recipe, tiny_run
from training.fit.log import LOG_FILE
from training.fit.processes import ALONE, Processes, joined
from training.fit.run import CHECKPOINT_FILE, Run
from training.photos.crops import TrainingCrops, training_batches
from training.photos.sets import open_photos

ROOT = Path(__file__).parents[4]


def gradients(processes: Processes) -> list[Tensor]:
    """Of one step on four pictures, without what depends on how they are divided: batch norm, dropout, rounding."""
    run = Run(replace(TINY, dropout=0.0), tiny_recipe(), 0, tiny_run().histogram)
    run.bfloat16 = False
    for module in run.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            module.train = lambda _mode=True, module=module: module  # type: ignore[method-assign,misc]
    run.distribute(processes)
    size = 4 // processes.count
    part = slice(processes.rank * size, (processes.rank + 1) * size)
    rgb, lightness = batch()
    loss = run.step(rgb[part], lightness[part])
    assert run.photos_seen == 4
    return [torch.tensor(loss), *(parameter.grad for parameter in run.model.parameters() if parameter.grad is not None)]


def test_without_torchrun_a_process_is_alone() -> None:
    with joined() as processes:
        assert processes == ALONE
        assert processes.first
        assert processes.mean(0.5) == 0.5
        assert processes.any(True)
        assert not processes.any(False)
        assert processes.from_first(lambda: "answer") == "answer"


def test_the_parts_of_all_processes_are_the_batches_of_one(photos: Path) -> None:
    crops = TrainingCrops(open_photos(photos), list(range(6)), 0, 0.0, lambda _: 32)
    loader = training_batches(crops, torch.ones(6, dtype=torch.float64), 4, start=8)
    parts = [itertools.islice(Processes(rank, 2).part_of(loader), 2) for rank in range(2)]
    for whole, first, second in zip(itertools.islice(loader, 2), *parts, strict=True):
        assert torch.equal(torch.cat((first[0], second[0])), whole[0])
        assert torch.equal(torch.cat((first[1], second[1])), whole[1])


def test_two_processes_learn_as_one(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    tiny_run().save(out / CHECKPOINT_FILE)
    script = tmp_path / "script.py"
    script.write_text(
        dedent(f"""
        import torch
        from pathlib import Path
        from service.network.backbones import BackboneName
        from tests.unit.training.fit.test_processes import gradients
        from tests.unit.training.tiny import tiny_recipe
        from training.fit.loop import fit
        from training.fit.processes import joined

        with joined() as processes:
            photos, out = Path({str(photos)!r}), Path({str(out)!r})
            run = fit(BackboneName.MOBILENET_V2, photos, tiny_recipe(), out, processes=processes)
            state = {{"weights": list(run.model.parameters()), "gradients": gradients(processes)}}
            torch.save(state, out / f"{{processes.rank}}.pt")
        """)
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*torchrun, str(script)], env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first["weights"], second["weights"], strict=True))
    run = Run.load(out / CHECKPOINT_FILE)
    assert run.photos_seen == 12
    assert all(torch.equal(a, b) for a, b in zip(first["weights"], run.model.parameters(), strict=True))
    assert len((out / LOG_FILE).read_text().splitlines()) == 2
    for ours, theirs in zip(gradients(ALONE), first["gradients"], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5 + 1e-3 * ours.abs().max().item())
