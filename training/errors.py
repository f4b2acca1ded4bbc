"""What can be wrong with what a command of training was given; the messages name the file or folder.

TrainingError
├── NoPhotosError          a folder holds no photographs, or none that can serve
├── UnreadablePhotoError   a file that should be a photograph is not
├── PhotoSetError          a packed set or a set of arrays is not whole, or would be overwritten
├── NoRunError             a folder holds no run
├── OtherRunError          it holds a run of another kind than the one asked for
├── NoModelsError          a store holds no models, or one twice
├── UnreachableColorError  no calibration makes a model as colourful as was asked for
├── ExistingModelError     a store holds a model already
├── UnservableRunError     a run's network is none the service knows
└── RecipeError            a recipe is unknown or says what none can say
"""


class TrainingError(Exception):
    """The root; shown to the user as one line."""


class NoPhotosError(TrainingError):
    """There is nothing to learn from, or to measure with."""


class UnreadablePhotoError(TrainingError):
    """A photograph cannot be decoded."""


class PhotoSetError(TrainingError):
    """A packed set, or MIRFLICKR's arrays, are not what they should be; or a packed set would be overwritten."""


class NoRunError(TrainingError):
    """There is no run to export."""


class OtherRunError(TrainingError):
    """A run can only be resumed as what it was begun."""


class NoModelsError(TrainingError):
    """There is no model to measure, or two could not be told apart."""


class UnreachableColorError(TrainingError):
    """A model that answers almost grey cannot be calibrated."""


class ExistingModelError(TrainingError):
    """A model is never written over another one."""


class UnservableRunError(TrainingError):
    """A run was an experiment with another network than the service's."""


class RecipeError(TrainingError):
    """A recipe is unknown or says something a recipe cannot say."""
