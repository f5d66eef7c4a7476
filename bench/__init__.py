"""Benchmarks: each compares two things measured in one run, against the targets of the product.

python -m bench                       all of them, and a table
python -m bench --only sync,page      some of them

Invariant: a figure is printed as measured, whether or not its target is met.
"""
