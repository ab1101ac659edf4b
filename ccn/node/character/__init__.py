"""What is measured of a character, and what is done when an instance leaves it.

    scoring         from a committed reply to the state of its instance
    scorers, judge  what scores texts
    drift_watch     raises an alarm for an instance whose messages left their usual scatter
    outlier_alarms  raises an alarm for an instance that a round found beyond the tolerance
    probes          asks the questions that confirm an alarm or clear it
    restoration     takes alarms, and does what the ladder says about a confirmed one
    estimates       phi, CCC, psi, trust and drift, which no message waits for

The rules stand in `ccn.core.character`.
"""
