"""Backstage scaffolder actions that run Argo Workflows."""

__version__ = "0.1.0"
