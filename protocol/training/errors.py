"""Everything the training area can refuse.

    TrainingError
    +- DocumentError        a field of a JSON document is wrong (path, found, expected)
    |  +- ManifestError     ... of the job manifest
    +- BundleError          the files of a state or a result are not the canonical ones
    |  +- IndexRefused      ... their index breaks its schema (a DocumentError too)
    +- DataError            token shards do not match the manifest
    |  +- NoText            a folder holds no text to train on
    +- ModelError           tensors do not fit the model of the manifest
    +- ProgramError         this release cannot run the program of the manifest

Every message says what was found, why it cannot stand, and what to do next.
"""

from __future__ import annotations

from protocol.rules.errors import GradproofError


class TrainingError(GradproofError):
    """Root of this area's errors."""


class DocumentError(TrainingError):
    """A field of a canonical JSON document is wrong.

    `path` is where (like `manifest.batch.sequences`), `found` what stands there, `expected` what
    has to stand there.
    """

    document = "document"

    def __init__(self, path: str, found: str, expected: str) -> None:
        self.path = path
        self.found = found
        self.expected = expected
        super().__init__(
            f"{path}: found {found}",
            why=f"Expected {expected}.",
            fix=f"Correct the {self.document} and publish it again; do not run this one.",
        )


class ManifestError(DocumentError):
    """A job manifest breaks its schema: nothing of the job may be run."""

    document = "job manifest"


class BundleError(TrainingError):
    """The files of a state or a result are not the canonical files of the expected tensors."""


class IndexRefused(BundleError, DocumentError):
    """The index of a bundle breaks its schema or describes other tensors than the job's."""

    document = "bundle index"


class DataError(TrainingError):
    """Token shards do not match what the manifest says about them."""


class NoText(DataError):
    """A folder holds no text to train on."""


class ModelError(TrainingError):
    """Names, types or shapes of tensors do not fit the model of the manifest."""


class ProgramError(TrainingError):
    """The program or the step a job asks for is not one this release can run."""
