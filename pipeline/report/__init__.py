"""Results → pages, pictures, tables: each page is one self-contained HTML file."""
