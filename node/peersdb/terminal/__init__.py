"""What the client and the node's shell show a person alike: one harmless line of a text, tables, how far a transfer is.

Belongs here: text in, text out, and the bar. Banned: everything of the node and of the client, which both import
this; and rich, until something is drawn, since the client has to start fast.
"""
