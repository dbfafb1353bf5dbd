"""The PeersDB node: a replicated, signed log of contributions whose files lie in IPFS.

Layers, each importing only what stands to its right: ``api → service → (net | store | validators) → core``.
This package itself holds what all of them share: the exception tree (`errors`) and the typed
settings (`settings`).
"""

__version__ = "0.1.0"
