"""The pages: one module and one template each, rendered here, with all their state in the URL."""
