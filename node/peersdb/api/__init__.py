"""How people and programs reach a node: HTTP and the shell, over one set of commands.

Belongs here: parsing requests, rendering answers, the crossing between asyncio and trio (`bridge`).
Banned: policy; a command calls one function of `service`.
"""
