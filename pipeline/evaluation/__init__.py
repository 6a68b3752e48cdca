"""How good a ranking is: labels, exact rankings of a whole gallery, metrics with their intervals.

`evaluate` measures a catalog's engines, `compare` puts their answers side by side.
"""
