"""How good a ranking is: labels, exact rankings of a whole gallery, metrics with their intervals.

`evaluate` puts the parts together.
"""
