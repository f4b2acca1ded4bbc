"""What can be wrong with what a command of training was given; the messages name the file or folder.

TrainingError
├── NoPhotosError          a folder holds no photographs, or none that can serve
├── UnreadablePhotoError   a file that should be a photograph is not
├── NoRunError             a folder holds no run
├── OtherRunError          it holds a run of another kind than the one asked for
└── ExistingModelError     a store holds a model already
"""


class TrainingError(Exception):
    """The root; shown to the user as one line."""


class NoPhotosError(TrainingError):
    """There is nothing to learn from, or to measure with."""


class UnreadablePhotoError(TrainingError):
    """A photograph cannot be decoded."""


class NoRunError(TrainingError):
    """There is no run to export."""


class OtherRunError(TrainingError):
    """A run can only be resumed as what it was begun."""


class ExistingModelError(TrainingError):
    """A model is never written over another one."""
