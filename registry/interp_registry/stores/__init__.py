"""Every format that the tool writes to disk: atomic, hashed, and never a pickle.

Modules, from the bottom up:

* ``keys``: requests and names become folder names that cannot escape the store or collide.
* ``dated_ids``: the run or launch that a part of its id means.
* ``liveness``: is the process that left this file still there?
* ``artifact``: the commit protocol, first writer wins, and the collection of what dead writers left.
* ``hashing``: digests, also computed in a thread beside the writing.
* ``records``: JSON files that carry their own digest.
* ``shards``: one safetensors file with sealed header, streamed, hashed and memory-mapped.
* ``tables``: a folder of shards behind an immutable manifest; verify, repair, rebuild.
* ``features``, ``activations``: the two kinds of table.
* ``checkpoint``: training checkpoints. ``run``: run folders. ``home``: where all of it lies.
* ``maintenance``: list, measure, verify, repair and tidy whole stores, without torch.

Only ``shards`` (when a tensor is made), ``activations`` and ``checkpoint`` import torch.
"""

__all__: list[str] = []
