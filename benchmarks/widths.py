"""The automatic width against the best of all widths, by exhaustive search on the real step of each workload."""

import measure
import throughput
from workload import WORKLOADS

from jaxloop.core import devices
from jaxloop.training import group_tuner, host

MEMBERS, FEW = 256, 8  # of which a group has 4 at most


def searched(name: str, members: int, rounds: int) -> dict:
    """Member-steps/s by width, the best of calls in turn, and what the tuner chose beforehand."""
    workload, mesh = WORKLOADS[name], devices.member_mesh()
    widest = devices.largest_group(members, mesh.size, cpu=devices.on_cpu(mesh))
    automatic = throughput.automatic_width(workload, widest)
    widths = [1 << power for power in range(1, widest.bit_length())]
    steps = {width: throughput.step(workload, members, width) for width in widths}
    found = group_tuner.rates(steps, rounds)
    ratio = found[automatic] / max(found.values())
    told = "  ".join(f"{width}: {rate:,.0f}" for width, rate in found.items())
    print(f"{name:9} member-steps/s by width  {told}  auto {automatic}, {ratio:.2f} of the best", flush=True)
    return {"workload": name, "member-steps/s": found, "auto": automatic, "of the best": ratio}


def main() -> None:
    arguments = measure.parser(str(__doc__).splitlines()[0]).parse_args()
    host.use_every_core()
    if arguments.quick:
        throughput.hurry()
    names, members, rounds = (
        (["mlp-tiny"], FEW, 3) if arguments.quick else (list(WORKLOADS), MEMBERS, 3 * group_tuner.ROUNDS)
    )
    rows = [searched(name, members, rounds) for name in names]
    if arguments.chart:
        rates = {row["workload"]: list(row["member-steps/s"].values()) for row in rows}
        series = {name: [rate / max(each) for rate in each] for name, each in rates.items()}
        widths = list(rows[0]["member-steps/s"])
        measure.lines(arguments.chart, widths, series, "width", "share of the best width's speed")
    measure.publish({"rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
