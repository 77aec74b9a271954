"""A proposer for `jaxloop loop`, to begin one's own from: it varies one hparam of the incumbent at a time.

In a loop file: `[loop] proposer = "command"`, `command = "python tasks/propose.py"`. To ask a language model, put
what is known into its prompt, and print its answer as the JSON below.
"""

import json
import random
import sys


def propose(known):
    """Give each axis in turn another value, away from what has failed already."""
    draws = random.Random(known["round"])
    for number in range(known["count"]):
        name = list(known["space"])[number % len(known["space"])]
        axis, now = known["space"][name], known["incumbent"][name]
        if "values" in axis:
            value = draws.choice(axis["values"])
        else:
            low, high = axis.get("log") or axis["linear"]
            value = min(high, max(low, now * 10 ** draws.uniform(-1, 1)))
            value = round(value) if isinstance(low, int) else value
        yield {"config": {name: value}, "hypothesis": f"{name} = {value} is better than {now}"}


if __name__ == "__main__":
    print(json.dumps({"proposals": list(propose(json.load(sys.stdin)))}))
