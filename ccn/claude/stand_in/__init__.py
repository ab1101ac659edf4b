"""A server that speaks the Messages API without a model, for tests and for clusters without one."""
