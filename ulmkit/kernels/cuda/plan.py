"""Division of a persistent kernel into blocks, where it fits the device."""

import itertools
from dataclasses import dataclass

from ulmkit.kernels.cuda.compiler import Source
from ulmkit.kernels.cuda.driver import Device, Launch

TILE = 16
"""Side of a tile of the product, in rows and in values of k."""

_ROWS = (16, 32, 48, 64, 80, 96, 112, 128)
_WARPS = (8, 4)
_SPLITS = (1, 2)  # parts of the columns, each for other warps
_DEPTHS = (4, 2)  # blocks of k whose rows a warp holds or prefetches; the first that fits
_MOST_HELD = {"forward": 148, "backward": 167}  # largest `_held` that the compiler keeps in registers
_UNROLLED_HELD = {False: 6, True: 18}  # more of them if depth is above 2, by whether weights are spilled
_LANE_BYTES = 8  # a thread's weights of a tile
_LATENCY = 300  # cycles to read from the L2 cache; a guess
_L2_BYTES_PER_CYCLE = 64
_SHARED_BYTES_PER_CYCLE = 128
_PRODUCT_CYCLES = 1.7  # of a product of 16 x 16 by 16 x 8 values
_CLUSTER_CYCLES = 600  # to exchange sums within a cluster


def ceil_div(number: int, divisor: int) -> int:
    """Divide and round up."""
    return -(-number // divisor)


def round_up(number: int, multiple: int) -> int:
    """Round up to a multiple."""
    return ceil_div(number, multiple) * multiple


@dataclass(frozen=True)
class Plan:
    """Persistent kernel for one shape.

    Attributes:
        source: Source with its constants.
        launch: Blocks, threads and shared memory.
        groups: Number of groups of sequences; blocks synchronise only within their group.
        spilled_bytes: Bytes of weights, over all blocks, that do not fit into shared memory.
        cycles: Rough estimate of a step, only to rank plans.
    """

    source: Source
    launch: Launch
    groups: int
    spilled_bytes: int
    cycles: float


def plans(direction: str, dtype_name: str, batch: int, hidden_size: int, device: Device) -> list[Plan]:
    """List all plans that fit the device, fastest by estimate first.

    Args:
        direction: "forward" or "backward".
        dtype_name: "BF16" or "FP16".
        batch: B, number of sequences.
        hidden_size: H.
        device: Properties of the GPU.
    """
    if not device.cooperative or batch == 0:
        return []
    clusters = (1,) if direction == "forward" else (4, 2, 1) if device.clusters else (1,)
    candidates = [
        _smallest_plan(direction, dtype_name, batch, hidden_size, device, rows, *division)
        for rows, *division in itertools.product(_ROWS, _WARPS, _SPLITS, clusters)
        if rows < batch + TILE
    ]
    return sorted((plan for plan in candidates if plan is not None), key=lambda plan: plan.cycles)


def _smallest_plan(
    direction: str,
    dtype_name: str,
    batch: int,
    hidden: int,
    device: Device,
    rows: int,
    warps: int,
    split: int,
    cluster: int,
) -> Plan | None:
    """Return the plan with the fewest units per block; None if it does not fit."""
    groups = ceil_div(batch, rows)
    most_blocks = device.multiprocessors // groups // cluster * cluster
    if most_blocks == 0:
        return None
    forward = direction == "forward"
    # A tile has eight columns. Forward, a unit has four of them; backward, the units of the cluster are the columns.
    step = split * (2 if forward else 8 // cluster)
    units = round_up(ceil_div(hidden, most_blocks), step)
    columns = units * (4 if forward else cluster)
    blocks = ceil_div(hidden, units * cluster) * cluster
    tiles_of_k = ceil_div(round_up(hidden if forward else 4 * hidden, TILE), TILE * cluster)
    slice_bytes = columns // 8 * 32 * _LANE_BYTES  # weights for one tile of k
    line = columns if columns % 16 == 8 else columns + 8
    parts = warps // split // 2 * rows * line * 4
    totals = rows * columns * 4 if cluster > 1 else 0
    resident = min(tiles_of_k, (device.shared_bytes - parts - totals) // slice_bytes)
    held = _held(rows, units, columns // split, warps, forward)
    depth = _depth(_MOST_HELD[direction] - held, rows // 16, spills=resident < tiles_of_k)
    if resident < 0 or depth is None:
        return None
    resident_bytes = resident * slice_bytes
    spilled_bytes = (tiles_of_k - resident) * slice_bytes
    traffic = resident_bytes + 4 * parts  # of shared memory in a step
    constants = {
        "UNITS": units,
        "ROWS": rows,
        "WARPS": warps,
        "SPLIT": split,
        "CLUSTER": cluster,
        "RESIDENT": resident,
        "SPILLS": int(spilled_bytes > 0),
        "DEPTH": depth,
    }
    return Plan(
        Source.of(f"lstm_{direction}.cu", **{dtype_name: 1}, **constants),
        Launch(blocks * groups, 32 * warps, resident_bytes + parts + totals, cluster, cooperative=True),
        groups,
        blocks * groups * spilled_bytes,
        _cycles(rows * split, rows, columns, tiles_of_k, warps // split, depth, traffic, spilled_bytes, cluster),
    )


def _held(rows: int, units: int, columns: int, warps: int, forward: bool) -> int:
    """Estimate the registers of a thread, without the rows that it reads.

    They hold sums of its warp's part of the product, and its units' values during the product and between steps.
    """
    bands = rows // 16
    items = ceil_div(rows * units, 32 * warps)
    return bands * columns // 8 * 4 + (4 * bands + 6 * items if forward else 9 * items)


def _depth(room: int, bands: int, spills: bool) -> int | None:
    """Return how many blocks of k a warp can hold or prefetch in `room` registers; None if not even two."""
    for depth in _DEPTHS:
        if 4 * bands * depth + (_UNROLLED_HELD[spills] if depth > 2 else 0) <= room:
            return depth
    return None


def _cycles(
    rows_read: int,
    rows: int,
    columns: int,
    tiles_of_k: int,
    sharers: int,
    depth: int,
    traffic: int,
    spilled_bytes: int,
    cluster: int,
) -> float:
    """Estimate the cycles of a step, as if nothing overlapped.

    They are the reads of states and spilled weights, the product, and the traffic of shared memory. Reads take as
    long as their bytes or, if longer, a warp's waits: one for `depth` blocks of states, one for each spilled tile.
    """
    read = (rows_read * tiles_of_k * TILE * 2 + spilled_bytes) / _L2_BYTES_PER_CYCLE
    spilled_tiles = spilled_bytes / (columns // 8 * 32 * _LANE_BYTES)
    waiting = _LATENCY * (1.0 + (tiles_of_k / depth + spilled_tiles) / sharers)
    product = rows / 16 * (columns / 8) * tiles_of_k * _PRODUCT_CYCLES
    exchange = _CLUSTER_CYCLES if cluster > 1 else 0
    return max(read, waiting) + product + traffic / _SHARED_BYTES_PER_CYCLE + exchange
