"""Results → pages for people, each one self-contained HTML file that opens anywhere."""

from pipeline.pages.audit import audit_page
from pipeline.pages.report import report_page

__all__ = ["audit_page", "report_page"]
