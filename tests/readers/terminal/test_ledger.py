"""What a loop has recorded, in words."""

from jaxloop.readers.terminal.ledger import summary_lines

TRY = {
    "kind": "experiment",
    "proposer": "try",
    "round": 1,
    "changed": {"width": 64},
    "config": {"learning_rate": 0.01, "width": 64},
    **{"effect": 0.1, "low": 0.05, "high": 0.15, "n": 8, "p": 0.001, "level": 0.01, "alpha_left": 0.02},
}


def test_a_successful_try_names_the_new_incumbent():
    told = summary_lines([{**TRY, "verdict": "success"}])
    assert told[0].startswith("try 1: success: width=64, effect +0.1 [+0.05, +0.15] on 8 paired seeds (p 0.001,")
    assert told[1:] == ["  new incumbent, not audited: learning_rate=0.01 width=64"]
    assert len(summary_lines([{**TRY, "verdict": "tie"}])) == 1
    assert len(summary_lines([{**TRY, "verdict": "success", "task": "new.py:task"}])) == 1  # adopted by hand
