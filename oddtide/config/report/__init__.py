"""The report of ``oddtide replay --diff`` as one HTML file: no script, nothing loaded from anywhere, light and dark.

:mod:`.page` is the page, :mod:`.charts` its drawings, :mod:`.style` its looks.
"""
