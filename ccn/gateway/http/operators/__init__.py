"""What operators see and ask for over HTTP."""
