"""The automatic width against the best of all widths, by exhaustive search on the real step of each workload."""

import measure
import throughput
from workload import WORKLOADS

from jaxloop import devices, tune

MEMBERS = 256


def searched(name: str, rounds: int) -> dict:
    """Member-steps/s by width, the best of calls in turn, and what the tuner chose beforehand."""
    workload, mesh = WORKLOADS[name], devices.member_mesh()
    widest = devices.widest(MEMBERS, mesh.size, cpu=devices.on_cpu(mesh))
    automatic = throughput.automatic_width(workload, widest)
    widths = [1 << power for power in range(1, widest.bit_length())]
    steps = {width: throughput.step(workload, MEMBERS, width) for width in widths}
    found = tune.rates(steps, rounds)
    ratio = found[automatic] / max(found.values())
    told = "  ".join(f"{width}: {rate:,.0f}" for width, rate in found.items())
    print(f"{name:9} member-steps/s by width  {told}  auto {automatic}, {ratio:.2f} of the best", flush=True)
    return {"workload": name, "member-steps/s": found, "auto": automatic, "of the best": ratio}


def main() -> None:
    arguments = measure.parser(__doc__.splitlines()[0]).parse_args()
    devices.use_every_core()
    names, rounds = (["mlp-tiny"], 3) if arguments.quick else (list(WORKLOADS), 3 * tune.ROUNDS)
    rows = [searched(name, rounds) for name in names]
    if arguments.chart:
        rates = {row["workload"]: list(row["member-steps/s"].values()) for row in rows}
        series = {name: [rate / max(each) for rate in each] for name, each in rates.items()}
        widths = list(rows[0]["member-steps/s"])
        measure.lines(arguments.chart, widths, series, "width", "share of the best width's speed")
    measure.publish({"rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
