"""The project's own validators.

Each module has `check`, the options it knows (`OPTIONS`), and perhaps `prepare`, which imports its libraries once in
the fork server. The modules themselves import none of these, as the node reads `OPTIONS`.
"""
