"""Costs: parameters, multiply-accumulates, bytes, latency and budgets."""
