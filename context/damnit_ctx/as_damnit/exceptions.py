"""The exceptions of DAMNIT 0.4, imported as ``damnit_exceptions``."""

from damnit_ctx.errors import ContextFileErrors, DependencyError, GroupError, Skip

__all__ = ["ContextFileErrors", "DependencyError", "GroupError", "Skip"]
