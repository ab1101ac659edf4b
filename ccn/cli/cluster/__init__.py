"""The local cluster of `ccn up`: its folder, its processes, and what is shown of them."""
