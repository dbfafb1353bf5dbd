"""Speed and memory of the node, measured on real processes over loopback.

Each measure gives a figure, the limit it is held against, taken in the same run where there is one (the disk's own
rate of commits, a raw stream), and what rivals reach (`rivals`). Absolute times depend on the machine: a verdict is
a ratio within one run. ``python -m benchmarks --help`` lists the measures.
"""
