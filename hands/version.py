"""The version of Hands, in one place; `hands --version`, the journal and the package read it here."""

__version__ = "0.1.0"
