"""How a sample product is drawn: a `pen` → one function per kind → a `scene`.

Every drawing function takes a Pen and makes the random choices by which products of its kind
differ; the background, the shadow and the camera are added by `scene`. A new kind of product is a
function in the module of similar ones and a line in `source`.
"""
