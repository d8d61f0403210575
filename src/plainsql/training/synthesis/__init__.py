"""Training pairs made from schemas and cells: templates, everyday questions, synonyms."""
