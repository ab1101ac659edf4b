"""What is measured of how an instance speaks: scores, states, alarms, and figures made of them."""
