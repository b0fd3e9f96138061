"""One operator's machines, computing for its roles.

A role asks for a *computation*: one question of one round, described so completely that whoever has
the description and the content store can do it. Consumers, one per device, take computations by
*leases* that are rows of a database; Celery only rings the bell. The chain is the truth, the
database a projection, the queue a doorbell: whatever is lost here is asked for again.
"""
