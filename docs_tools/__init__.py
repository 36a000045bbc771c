"""What makes the documentation: tables from the code (`python -m docs_tools`), and hooks of mkdocs."""
