"""The databases of an operator: tables, how they are opened, how they change between releases.

A projection of the chain and a journal of one's own acts, never the truth. SQLite files in the home
by default; PostgreSQL where GRADPROOF_DATABASE names one.
"""
