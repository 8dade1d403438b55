"""Benchmarks: Taximeter beside the direct call, a bare Envoy and a LiteLLM proxy, each on one core. See README.md."""
