"""How a sample product is drawn: `outlines` → a `pen` → one function per kind → a `scene`.

Every drawing function takes a Pen and makes the random choices that tell one product of its kind
from another; it knows nothing of the background, the shadow and the camera, which `scene` adds.
A new kind of product is a function in the module of its like and a line in `categories`.
"""
