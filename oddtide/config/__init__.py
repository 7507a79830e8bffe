"""Settings and composition: the only place that knows both the agents and the adapters.

``settings`` reads one TOML file and the environment; ``basic``, ``enterprise`` and ``custom`` say what each
composition takes for granted; ``composition`` wires the parts together; ``cli`` is where a person comes in.
"""
