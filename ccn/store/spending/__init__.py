"""What calls cost, and what is set aside for them.

    reservation_queue  where the calls of one node reserve and settle, one statement at a time
    spend              the statements: reservations, sums by day, and the list of what was used

Who pays, and what a call can cost, is known in `ccn.node.spending`.
"""
