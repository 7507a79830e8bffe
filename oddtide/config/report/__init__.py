"""Reports as one HTML file each: no script, nothing loaded from anywhere, light and dark.

:mod:`.page` is that of ``oddtide replay --diff``, :mod:`.charts` its drawings; :mod:`.comparison` that of ``oddtide
compare``, :mod:`.plots` its drawings. :mod:`.parts` is what both are made of, :mod:`.style` their looks.
"""
