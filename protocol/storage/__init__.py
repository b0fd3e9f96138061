"""The content store: where model state, data and gradients lie, named by their bytes.

`open_store` gives a `ContentStore` over any Kubo daemon, or over the embedded node that
`protocol.storage.node.start_node` starts. Nothing a daemon says is believed: CIDs are computed
here and every block is hashed before use. Importing this package is cheap; ipfshttpclient is
loaded when a store is opened.
"""

from protocol.storage.cache import Cache
from protocol.storage.cid import Cid
from protocol.storage.errors import StorageError
from protocol.storage.store import ContentStore, open_store
from protocol.storage.unixfs import cid_of_bytes, cid_of_file

__all__ = [
    "Cache",
    "Cid",
    "ContentStore",
    "StorageError",
    "cid_of_bytes",
    "cid_of_file",
    "open_store",
]
