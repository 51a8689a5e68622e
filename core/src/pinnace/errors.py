"""The root of the errors that Pinnace raises on purpose.

PinnaceError
├── SettingsError            settings.py: a wrong or missing setting; names every one of them at once
├── StoreError               stores/store.py: the object store refused or could not be reached
├── ApiError                 client/errors.py: the metadata API refused or could not be reached
├── KubernetesError          kubectl/calls.py: kubectl or the cluster did not do what was asked
└── TrackingError            tracking/errors.py: recording a run did not go as it should
"""


class PinnaceError(Exception):
    """Something failed that we can explain. `hint` says what the person reading can do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message
