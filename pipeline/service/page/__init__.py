"""The page: HTML that is whole without JavaScript, made of what the API answers.

`pages` turns an answer into a page, with the words of `cards` and the form of `filters`. The script
in `static/` fetches the same pages in the background.
"""
