"""The benchmarks: `python -m bench`. Nothing here is imported by the product, and nothing here imports it."""
