"""What a user would pick instead, each as a program of its own that does the same work and prints one line of JSON.

``drain`` and ``plain_faust`` run in the project's environment, ``quix`` and ``bytewax_flow`` in one that ``make bench``
makes beside it (they need packages that the project does not).
"""
