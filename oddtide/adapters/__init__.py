"""Adapters: one folder per outside system, none of which knows another. Each fits a port of ``domain`` or ``streams``."""
