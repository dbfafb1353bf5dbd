"""The report: one HTML file, its plots also as PNG and SVG, drawn from the files of a run and nothing else.

``python -m loadtests.report DIR`` draws it again at any time. What belongs here: reading results, turning
them into tables and plots. No locust, no gevent, no network.
"""
