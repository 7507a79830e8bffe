# PyOD ships without types. Its detectors are loaded by name at run time, so no more than the package itself is needed.
__version__: str
