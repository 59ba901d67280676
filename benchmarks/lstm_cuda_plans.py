"""Times to rank the persistent kernels' plans by: of a grid barrier, and of each plan's step."""

import contextlib
import ctypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from common import row
from cuda_timing import launch_milliseconds, milliseconds
from lstm_cuda_layers import DROPOUT, HIDDEN, LIMIT, STEPS, Layer
from torch import Tensor

from ulmkit.errors import UlmkitError
from ulmkit.kernels.cuda.compiler import Source, machine_code
from ulmkit.kernels.cuda.driver import Launch, cuda_driver
from ulmkit.kernels.cuda.launcher import kernels
from ulmkit.kernels.cuda.plan import Plan, plans

ROUNDS = 1000


def compare_barriers(repeats: int) -> list[dict[str, Any]]:
    """Measure a grid barrier: blocks that do nothing but wait for each other."""
    device = kernels(0).device
    driver = cuda_driver()
    function = driver.function(Source.of("barrier.cu"), "meet_often", 0, 0)
    met = torch.zeros(1, dtype=torch.int32, device="cuda")
    rows = []
    for blocks in (device.multiprocessors // 2, device.multiprocessors):
        for threads in (128, 256):
            launch = Launch(blocks, threads, cooperative=True)

            def run(rounds: int, launch: Launch = launch) -> None:
                met.zero_()
                arguments = ctypes.c_void_p(met.data_ptr()), ctypes.c_int(launch.blocks), ctypes.c_int(rounds)
                driver.launch(function, launch, arguments, 0)

            few, many = (milliseconds(lambda rounds=rounds: run(rounds), repeats) for rounds in (ROUNDS, 2 * ROUNDS))
            case = f"grid barrier of {blocks} blocks of {threads} threads"
            rows.append(row(case, "us", 1000 * (many - few) / ROUNDS, None, "alone", lower_is_better=True))
    return rows


def compare_plans(direction: str, batch: int, count: int, repeats: int) -> list[dict[str, Any]]:
    """Measure a step by each of the best plans of a direction, beside the chosen plan.

    A plan that cannot run is named and left out.
    """
    layer = Layer(batch, HIDDEN, torch.bfloat16, DROPOUT, "fused")
    run = kernels(0)
    chosen = run.plan(direction, torch.bfloat16, batch, HIDDEN)
    if chosen is None:
        print(f"B {batch}, {direction}: step by step")
        return []
    best = plans(direction, "BF16", batch, HIDDEN, run.device)[:count]
    candidates = [chosen, *(plan for plan in best if plan != chosen)]
    compile_ahead(candidates)
    expected = None
    chosen_step = None
    rows = []
    for plan in candidates:
        case = f"bf16, {HIDDEN} units, B {batch}, {direction}: {described(plan)}"
        try:
            with planned(direction, plan):
                results = computed(layer)
                step = step_microseconds(layer, repeats).get(direction)
        except UlmkitError as error:
            print(f"{case}: {error}")
            continue
        if step is None:
            print(f"{case}: the device has no room for it")
            continue
        if plan == chosen:
            expected = results
            chosen_step = step
        same = expected is None or all(near(a, b) for a, b in zip(results, expected, strict=True))
        peer = "the chosen plan" if same else "the chosen plan, whose results differ"
        rows.append(row(case, "us per step", step, chosen_step, peer, lower_is_better=True))
    return rows


def step_microseconds(layer: Layer, repeats: int) -> dict[str, float]:
    """Time of one more step within the persistent launch in training, by direction."""
    few, many = (launch_milliseconds(layer.run(steps, True), repeats) for steps in (STEPS, 2 * STEPS))
    return {direction: 1000 * (many[direction] - few[direction]) / STEPS for direction in few}


def described(plan: Plan) -> str:
    """Constants of a plan and the estimate that ranks it."""
    names = ("UNITS", "ROWS", "WARPS", "SPLIT", "CLUSTER")
    constants = dict(plan.source.constants)
    text = ", ".join(f"{name.lower()} {constants[name]}" for name in names)
    return f"{text}{', spills' if plan.spilled_bytes else ''}, {plan.cycles:,.0f} cycles estimated"


def compile_ahead(candidates: list[Plan]) -> None:
    """Compile plans in parallel into the cache; a plan that fails here fails again where it is used."""
    with ThreadPoolExecutor() as pool:
        for plan in candidates:
            pool.submit(machine_code, plan.source, kernels(0).device.architecture)


@contextlib.contextmanager
def planned(direction: str, plan: Plan) -> Iterator[None]:
    """Run a direction by this plan within the block, or step by step if the device has no room for it."""
    run = kernels(0)
    choose_plan = run.plan

    def fixed_plan(asked: str, *shape: Any) -> Plan | None:
        if asked != direction:
            return choose_plan(asked, *shape)
        return None if plan in run.refused else plan

    run.plan = fixed_plan
    try:
        yield
    finally:
        del run.plan


def computed(layer: Layer) -> tuple[Tensor, Tensor]:
    """Output and gradient of the input, in float32."""
    x = layer.x[:STEPS].clone().requires_grad_()
    y = layer.forward(x, layer.bits, layer.dtype, layer.backend)
    (dx,) = torch.autograd.grad(y, x, layer.dy[:STEPS])
    return y.detach().float(), dx.float()


def near(a: Tensor, b: Tensor) -> bool:
    """True if two tensors are equal except for rounding."""
    return bool(torch.linalg.norm(a - b) < LIMIT * torch.linalg.norm(b))
