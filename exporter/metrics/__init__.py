"""The metric families, what the process counts about itself, and their exposition.

`exposition` turns a published snapshot into the answer to a scrape.
"""
