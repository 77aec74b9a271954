"""Training steps of four small models: how many a second, and how near to the machine's fastest matmul.

For each population its own compiled step at the automatic width. Evaluation and files are left out: `overhead.py`
measures what they cost. The matmul peak is measured in the same run; the FLOPs are those of a model's matmuls.
"""

import functools
import math
import statistics

import measure
from workload import WORKLOADS, Workload

from jaxloop.core import devices, size_classes
from jaxloop.core.costs import step_cost
from jaxloop.training import group_tuner, host, peak

MOST_SECONDS = 15.0  # of one timed call


def hurry() -> None:
    """Shorten the tuner's timed calls a hundredfold: for quick forms, whose figures mean nothing."""
    group_tuner.CALL_FLOPS /= 100


@functools.cache
def automatic_width(workload: Workload, most: int) -> int:
    """What the tuner finds, from nothing remembered."""
    sweep, task = workload.read(most)
    (bucket,) = size_classes.buckets(sweep, task)
    if not devices.on_cpu(devices.member_mesh()):
        return most
    first = devices.choose_group_size(step_cost(sweep, task, bucket).working_set, most)
    return group_tuner.fastest(lambda width: step(workload, most, width), first, most)


def step(workload: Workload, members: int, width: int, steps: int | None = None) -> group_tuner.Step:
    """The step of a population at a width; without `steps`, of one group on each device, as the tuner times it."""
    sweep, task = workload.read(members)
    (bucket,) = size_classes.buckets(sweep, task)
    mesh = devices.member_mesh()
    if steps is None:
        return group_tuner.Step(
            sweep, task, bucket, mesh, width, group_tuner.call_length(step_cost(sweep, task, bucket).flops, width)
        )
    return group_tuner.Step(sweep, task, bucket, mesh, width, steps, math.ceil(members / (width * mesh.size)))


def rates(workload: Workload, populations: list[int], matmul_peak: float) -> list[dict]:
    """A row for each population that one call of `MOST_SECONDS` can hold."""
    rows, rate = [], None
    for members in populations:
        if rate and members * workload.chunk / rate > MOST_SECONDS:
            break
        mesh = devices.member_mesh()
        width = automatic_width(workload, devices.largest_group(members, mesh.size, cpu=devices.on_cpu(mesh)))
        timed = step(workload, members, width, workload.chunk)
        # an idle slot of a last group computes for nobody
        share = members / timed.members
        rate = share * statistics.median(timed.rate() for _ in range(3))
        flops = rate * workload.flops
        rows.append(
            {
                "workload": workload.name,
                "members": members,
                "width": width,
                "member-steps/s": rate,
                "GFLOP/s": flops / 1e9,
                "of matmul peak": flops / matmul_peak,
                "compile seconds": timed.compile_seconds,
            }
        )
        print(
            f"{workload.name:9} {members:5} members  width {width:2}  {rate:10,.0f} member-steps/s  "
            f"{flops / 1e9:6.1f} GFLOP/s  {flops / matmul_peak:5.1%} of the matmul peak  "
            f"compiled in {timed.compile_seconds:.1f} s",
            flush=True,
        )
    return rows


def main() -> None:
    arguments = measure.parser(str(__doc__).splitlines()[0]).parse_args()
    host.use_every_core()
    if arguments.quick:
        hurry()
    matmul_peak = peak.measure(devices.member_mesh())
    names = ["mlp-tiny"] if arguments.quick else list(WORKLOADS)
    populations = [8] if arguments.quick else [1, 4, 16, 64, 256, 1024, 4096]
    rows = [row for name in names for row in rates(WORKLOADS[name], populations, matmul_peak)]
    if arguments.chart:
        series = {name: [row["of matmul peak"] for row in rows if row["workload"] == name] for name in names}
        measure.lines(arguments.chart, populations, series, "members", "share of the matmul peak")
    measure.publish({"matmul peak GFLOP/s": matmul_peak / 1e9, "rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
