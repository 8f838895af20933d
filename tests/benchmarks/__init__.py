"""Figures of cost and speed, as counts and ratios measured in one run: `make bench`.

No test: nothing here fails on a slow machine. `figures.py` says what a figure is, `__main__.py` which
there are.
"""
