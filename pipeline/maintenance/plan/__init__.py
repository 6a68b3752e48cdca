"""What a catalog of some size will take, said before it is built.

    amounts    "10m", "100ms" → numbers
    speeds     how fast a machine is: constants that are shipped, or measured and kept
    measure    measures them, in about a minute
    networks   an engine's settings → dimensions, seconds for a photo, hours of training
    times      an index's size and the speeds → seconds of building and of a query
    choose     which type of index meets what is asked for, on how many machines
    plan       all of it, for the settings of a catalog

Bytes are the formulas of `index.sizes`, by which builds also see whether there is room.
"""
