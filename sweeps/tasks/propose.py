"""A proposer for `jaxloop loop`, to begin one's own from: it varies one hparam of the incumbent at a time.

In a loop file: `[loop] proposer = "command"`, `command = "python tasks/propose.py"`. To ask a language model, put
what is known into its prompt, and print its answer as the JSON below.
"""

import json
import random
import sys


def propose(known):
    """Give each axis in turn another value; what is known already, the loop refuses."""
    draws = random.Random(known["round"])
    for number in range(known["count"]):
        name = list(known["space"])[number % len(known["space"])]
        axis, now = known["space"][name], known["incumbent"][name]
        if "log" in axis or "linear" in axis:
            low, high = axis.get("log") or axis["linear"]
            new = now * 10 ** draws.uniform(-1, 1) if "log" in axis else draws.uniform(low, high)
            value = min(high, max(low, round(new) if isinstance(low, int) else new))
        else:
            values = axis.get("values") or range(*axis["range"])
            value = draws.choice([other for other in values if other != now])
        yield {"config": {name: value}, "hypothesis": f"{name} = {value} is better than {now}"}


if __name__ == "__main__":
    print(json.dumps({"proposals": list(propose(json.load(sys.stdin)))}))
