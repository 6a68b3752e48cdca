"""The page: HTML that is whole without JavaScript, made of what the API answers.

`documents` turns an answer into a page, with the words of `cards` and the form of `filters`. The
scripts in `static/` fetch the same pages in the background.
"""
