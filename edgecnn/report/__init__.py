"""Results as one page: the store's results become rows, and the rows a self-contained HTML file."""

from edgecnn.report.page import Report, write

__all__ = ["Report", "write"]
