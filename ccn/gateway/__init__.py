"""The doors: translate a request, call the node, translate the answer back."""
