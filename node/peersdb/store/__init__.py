"""What lies on the disk: the repo directory, the SQLite database, block files.

Belongs here: SQL, files, fsync, and the mapping of their errors. Banned: the network, HTTP, policy.
Only the writer thread of `database.Database` changes the database; what must happen together is one
job, and so one transaction.
"""
