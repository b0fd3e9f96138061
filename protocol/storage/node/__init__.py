"""The embedded node: a small, offline stand-in for Kubo behind the same client.

It serves two ports from one folder of blocks: a subset of Kubo's RPC for its owner (loopback only)
and a trustless gateway for peers (read only, never fetches anything on request).

    python -m protocol.storage.node --root <folder>
"""

from protocol.storage.node.process import NodeProcess, start_node

__all__ = ["NodeProcess", "start_node"]
