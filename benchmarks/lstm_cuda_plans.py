"""What the persistent kernels' plans should be ranked by: the cost of a grid barrier, and the time of each plan."""

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
    """A round of blocks that do nothing but wait for each other."""
    device, driver = kernels(0).device, cuda_driver()
    function = driver.function(Source.of("barrier.cu"), "meet_often", 0, 0)
    met, rows = torch.zeros(1, dtype=torch.int32, device="cuda"), []
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
    """A step of the launch by each of the best plans of a direction, beside the plan that is chosen.

    A plan that does not run is named and left out.
    """
    layer, run = Layer(batch, HIDDEN, torch.bfloat16, DROPOUT, "fused"), kernels(0)
    chosen = run.plan(direction, torch.bfloat16, batch, HIDDEN)
    if chosen is None:
        print(f"B {batch}, {direction}: step by step")
        return []
    best = plans(direction, "BF16", batch, HIDDEN, run.device)[:count]
    found = [chosen, *(plan for plan in best if plan != chosen)]
    compile_ahead(found)
    wanted, usual, rows = None, None, []
    for plan in found:
        case = f"bf16, {HIDDEN} units, B {batch}, {direction}: {described(plan)}"
        try:
            with planned(direction, plan):
                given, step = computed(layer), step_microseconds(layer, repeats).get(direction)
        except UlmkitError as error:
            print(f"{case}: {error}")
            continue
        if step is None:
            print(f"{case}: the device has no room for it")
            continue
        if plan == chosen:
            wanted, usual = given, step
        same = wanted is None or all(near(a, b) for a, b in zip(given, wanted, strict=True))
        peer = "the plan chosen" if same else "the plan chosen, which computes something else"
        rows.append(row(case, "us a step", step, usual, peer, lower_is_better=True))
    return rows


def step_microseconds(layer: Layer, repeats: int) -> dict[str, float]:
    """What a step more takes of the persistent launch alone while training, by direction where there is one."""
    few, many = (launch_milliseconds(layer.run(steps, True), repeats) for steps in (STEPS, 2 * STEPS))
    return {direction: 1000 * (many[direction] - few[direction]) / STEPS for direction in few}


def described(plan: Plan) -> str:
    """Its constants and the estimate that ranks it."""
    names = ("UNITS", "ROWS", "WARPS", "SPLIT", "CLUSTER")
    constants = dict(plan.source.constants)
    told = ", ".join(f"{name.lower()} {constants[name]}" for name in names)
    return f"{told}{', spills' if plan.spilled_bytes else ''}, {plan.cycles:,.0f} cycles estimated"


def compile_ahead(found: list[Plan]) -> None:
    """Into the cache, several at once; what is refused here is refused again where it is used."""
    with ThreadPoolExecutor() as pool:
        for plan in found:
            pool.submit(machine_code, plan.source, kernels(0).device.architecture)


@contextlib.contextmanager
def planned(direction: str, plan: Plan) -> Iterator[None]:
    """Within the block a direction runs by this plan, or step by step where the device has no room for it."""
    run, usual = kernels(0), kernels(0).plan

    def given(asked: str, *shape: Any) -> Plan | None:
        if asked != direction:
            return usual(asked, *shape)
        return None if plan in run.refused else plan

    run.plan = given
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
    """Whether they are the same but for rounding."""
    return bool(torch.linalg.norm(a - b) < LIMIT * torch.linalg.norm(b))
