"""The companion as a web site, on which the explorers move without a kernel.

`python -m helpers.site OUT` builds it from the notebooks. `build.py` runs them and
calls Sphinx, `pages.py` makes a page of a notebook, and `index.py` makes the first page
of the README. The site asks nothing of the network, and can be opened from a folder.
"""
