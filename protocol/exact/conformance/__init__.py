"""Conformance: whether this machine computes the profile, case by case and input by input.

    python -m protocol.exact.conformance            # vectors on every route, all 2^32 inputs
    python -m protocol.exact.conformance --stride 257 --functions exp log

`vectors.json` holds cases with the answers of an independent big-integer reference, and
`function_hashes.json` the hashes of the functions over all inputs, found without this engine;
docs/conformance.md describes both for implementers. INVARIANT: nothing here computes an answer.
"""
