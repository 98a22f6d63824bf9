"""The errors of the remover.

RemoverError
├── NoSubject
├── UnreadableImage
├── ImageTooLarge
└── RemoverUnavailable
"""


class RemoverError(Exception):
    """An image could not be cut out."""


class NoSubject(RemoverError):
    """No subject was found in the image."""


class UnreadableImage(RemoverError):
    """The data are not a whole image of a supported format."""


class ImageTooLarge(RemoverError):
    """The image has more pixels than allowed."""


class RemoverUnavailable(RemoverError):
    """The remover cannot run here."""
